"""Texts as training data: cleaned as the reference cleaned them, and the form in which two texts count as the same."""

from __future__ import annotations

import unicodedata


def clean(text: str) -> str:
    """A text without white space around it, composed (NFC) as the encoder composes what it is given."""
    return unicodedata.normalize("NFC", text.strip())


def match_key(text: str) -> str:
    """What is left of a text for comparison: letters and digits of its compatibility form, in one case.

    A text without letters and digits is compared as it stands.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded.strip()
