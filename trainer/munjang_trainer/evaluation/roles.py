"""The prompt of a role: the words that a model wants before a query and before a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.kinds import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

CANDIDATES = {Role.QUERY: ("query",), Role.DOCUMENT: ("document", "passage", "corpus")}
"""The names under which sentence-transformers' encode_query and encode_document look, in this order."""


def prompt_of_role(role: Role, prompts: Mapping[str, str]) -> str:
    """The name of the prompt of a role, or "" for the default prompt."""
    return next((name for name in CANDIDATES[role] if name in prompts), "")
