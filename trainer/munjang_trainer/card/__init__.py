"""The model card: what a model is, what it was made of, how good it is, and how to call it. Markdown, read by people.

card (all of it) · figures (evaluation tables) · making (data, values, log) · usage · citations
"""
