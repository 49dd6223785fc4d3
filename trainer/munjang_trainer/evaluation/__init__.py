"""How good a model is: metrics on evaluation sets with bootstrap intervals, speed and size. Training is left to others.

metrics (with intervals) · retrieval (those of a search) · models (a loaded model) · evaluate
(one model on all sets, and two compared) · results (what is kept) · sets (which sets)
"""
