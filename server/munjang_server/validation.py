"""What a request must be before any work is done for it: how many texts, how long, which prompt. Knows no transport.

Faults of single texts come as a mapping by index, so that a caller who asked for partial results gets the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.errors import EmptyText, MunjangError, NoTexts, TextTooLong, TooManyTexts, UnknownPrompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from munjang.encoder.contract import ModelInfo, Tokens


def check_count(count: int, most: int, field: str) -> None:
    """Refuse an empty list and one that is too long.

    Raises:
        NoTexts: there are none.
        TooManyTexts: more than `most`.
    """
    if count == 0:
        msg = f"{field} is empty; it needs at least one text"
        raise NoTexts(msg, field=field)
    if count > most:
        msg = f"the call has {count} texts; this server takes up to {most} in one call"
        raise TooManyTexts(msg, field=field)


def text_faults(texts: Sequence[str], field: str, max_chars: int) -> dict[int, MunjangError]:
    """Why texts are refused, by index: EmptyText or TextTooLong."""
    faults: dict[int, MunjangError] = {}
    for index, text in enumerate(texts):
        if not text or text.isspace():
            faults[index] = EmptyText("the text is empty or only white space", field=field, index=index)
        elif len(text) > max_chars:
            msg = f"the text has {len(text)} characters; this server takes up to {max_chars}"
            faults[index] = TextTooLong(msg, field=field, index=index)
    return faults


def token_faults(tokens: Sequence[Tokens | None], field: str, max_tokens: int, *, cut: bool) -> dict[int, MunjangError]:
    """Why tokenised texts are refused, by index: EmptyText, or TextTooLong where cutting was ruled out."""
    faults: dict[int, MunjangError] = {}
    for index, item in enumerate(tokens):
        if item is None:
            continue
        if not len(item):
            faults[index] = EmptyText("nothing of the text is left for the model to read", field=field, index=index)
        elif item.truncated and not cut:
            msg = f"the text has more than the {max_tokens} tokens that the model reads, and truncation is NONE"
            faults[index] = TextTooLong(msg, field=field, index=index)
    return faults


def check_prompt(name: str, info: ModelInfo, field: str) -> None:
    """Refuse a prompt that the model does not have.

    Raises:
        UnknownPrompt: the message lists those that it has.
    """
    if name and name not in info.prompts:
        known = ", ".join(sorted(info.prompts)) or "none"
        msg = f"this model version has no prompt {name!r}; it has {known}"
        raise UnknownPrompt(msg, field=field)


def raise_first(faults: Mapping[int, MunjangError]) -> None:
    """Raise the fault of the lowest index, if there is any."""
    if faults:
        raise faults[min(faults)]
