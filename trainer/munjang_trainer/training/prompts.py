"""The words before a text that a model in training reads, by what the text is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from munjang.encoder.prompting import prompting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sentence_transformers import SentenceTransformer

    from munjang.kinds import Role


class _Prompts(NamedTuple):
    """What `prompting` asks of a model."""

    prompts: Mapping[str, str]
    default_prompt: str


def prompt_of(model: SentenceTransformer, role: Role | None) -> str:
    """The words before a text of that role; without one, those of the model's default prompt."""
    return prompting(_Prompts(model.prompts, model.default_prompt_name or ""), role=role).prompt
