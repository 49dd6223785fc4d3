"""How texts are put to a model: the words before them, and what they are for. The only place that chooses the words.

A request says it by the name of one of the model's prompts, by the text of a prompt, or by a role; `prompting` makes of
that what an encoder needs. The prompt of a role is the one that `encode_query` and `encode_document` of
sentence-transformers take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from munjang.encoder.contract import Prompting
from munjang.errors import InvalidOption, InvalidText, UnknownPrompt
from munjang.kinds import Role
from munjang.normalization import nfc

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLE_PROMPTS: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.QUERY: ("query",),
    Role.DOCUMENT: ("document", "passage", "corpus"),
}
"""The names under which a model has the prompt of a role; the first that it has is taken, also one of no words."""


class Prompted(Protocol):
    """What has prompts: a `ModelInfo`, the rules of a model, a manifest."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """The words by the prompt's name."""

    @property
    def default_prompt(self) -> str:
        """The name of the prompt that is used by default, or ""."""


def prompting(
    model: Prompted, *, prompt_name: str = "", prompt: str | None = None, role: Role | None = None
) -> Prompting:
    """How a request puts its texts to a model.

    A prompt, by name or by text, takes the place of the role's. A role whose prompt the model lacks has none. Without
    any of them the model's default prompt applies.

    Args:
        model: whose prompts.
        prompt_name: exactly the name of one of its prompts, or "".
        prompt: the text of a prompt; "" is none at all.
        role: what the texts are for.

    Raises:
        UnknownPrompt: the model has no prompt of that name; `field` is "prompt_name".
        InvalidOption: both a name and a text are given; `field` is "prompt".
        InvalidText: the text of the prompt is not valid Unicode; `field` is "prompt".
    """
    if prompt is not None:
        if prompt_name:
            msg = f"the prompt is given by its name ({prompt_name[:64]!r}) and as a text: leave one of them out"
            raise InvalidOption(msg, field="prompt")
        return Prompting(_normalized(prompt), role)
    if not prompt_name and role is not None:
        names = (name for name in ROLE_PROMPTS[role] if name in model.prompts)
        return Prompting(model.prompts.get(next(names, ""), ""), role)
    return Prompting(_named(model.prompts, prompt_name or model.default_prompt), role)


def promptings(prompts: Mapping[str, str]) -> list[Prompting]:
    """Each way to put a text to a model by its own words: with none, and with every prompt that has some."""
    return [Prompting(), *(Prompting(text) for _, text in sorted(prompts.items()) if text)]


def _named(prompts: Mapping[str, str], name: str) -> str:
    if not name:
        return ""
    if name in prompts:
        return prompts[name]
    known = ", ".join(sorted(prompts)) or "none"
    msg = f"the model has no prompt {name[:64]!r}; it has: {known}"
    raise UnknownPrompt(msg, field="prompt_name")


def _normalized(prompt: str) -> str:
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        msg = f"the prompt is not valid Unicode at character {error.start}: {error.reason}"
        raise InvalidText(msg, field="prompt") from error
    return nfc(prompt)
