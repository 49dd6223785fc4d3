"""Text before the tokenizer: valid Unicode, composed, so that one sentence is one string whoever typed it where."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from munjang.errors import InvalidText

if TYPE_CHECKING:
    from collections.abc import Sequence


def normalize(texts: Sequence[str]) -> list[str]:
    """Compose each text to NFC, so that decomposed Hangul (NFD, as macOS file names have it) equals composed Hangul.

    Raises:
        InvalidText: a text holds an unpaired surrogate, which no encoding can carry; `index` says which.
    """
    return [_normalize(text, index) for index, text in enumerate(texts)]


def _normalize(text: str, index: int) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"the text is not valid Unicode at character {error.start}: {error.reason}"
        raise InvalidText(msg, field="texts", index=index) from error
    return unicodedata.normalize("NFC", text)
