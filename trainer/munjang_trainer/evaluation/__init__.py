"""How good a model is: figures of vectors on evaluation sets, intervals, speed and size. Training is left to others.

forms (precisions and cuts) · figures (what a set says of vectors) · retrieval · bootstrap · subject (a loaded model) ·
measure (one model on all sets) · compare (two models) · results (what is kept) · show, plot
"""
