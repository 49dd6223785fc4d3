"""What a model makes of texts, and what a text is for: words that every part of the system shares."""

from __future__ import annotations

from enum import StrEnum


class ModelKind(StrEnum):
    """What a model makes of texts."""

    DENSE = "dense"
    """One vector of a text."""
    CROSS_ENCODER = "cross-encoder"
    """One score of a query and a document that are read together."""


class Role(StrEnum):
    """What a text is for, as `encode_query` and `encode_document` of sentence-transformers."""

    QUERY = "query"
    DOCUMENT = "document"
