"""What is encoded: short, mixed and long Korean texts, from KorSTS where it is given, else munjang's own sentences."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from munjang.encoder.contract import Encoder

SHORT_CHARS = 20
COUNTS = {"short": 500, "mixed": 800, "long": 24, "128 tokens": 96}
QUICK_COUNTS = {"short": 48, "mixed": 64, "long": 3, "128 tokens": 8}


def sentences(data: Path | None) -> list[str]:
    """Distinct Korean sentences in a fixed random order: both of each pair of KorSTS, or munjang's built-in ones."""
    found = _korsts(data / "korsts" / "sts-train.tsv") if data else list(SENTENCES)
    found = list(dict.fromkeys(found))
    random.Random(6).shuffle(found)  # noqa: S311 - the same order each time
    return found


def scored(data: Path) -> list[tuple[str, str, float]]:
    """KorSTS dev: two sentences and people's score of their likeness, 0 to 5."""
    rows = (line.split("\t") for line in (data / "korsts" / "sts-dev.tsv").read_text("utf-8").split("\n")[1:] if line)
    return [(row[5], row[6], float(row[4])) for row in rows]


def take(texts: Sequence[str], count: int) -> list[str]:
    """So many texts, round and round where there are fewer."""
    return [texts[index % len(texts)] for index in range(count)]


def sets(texts: Sequence[str], encoder: Encoder, *, quick: bool) -> dict[str, list[str]]:
    """The text sets by name.

    `mixed` has a tenth of paragraphs of up to the model's limit among sentences, `long` reaches the limit, and
    `128 tokens` has texts of exactly so many (or the limit, if that is less).
    """
    counts = QUICK_COUNTS if quick else COUNTS
    limit = encoder.info.max_tokens
    short = [text for text in texts if len(text) <= SHORT_CHARS]
    long = [of_tokens(encoder, texts, limit, number) for number in range(counts["long"])]
    exact = [of_tokens(encoder, texts, min(128, limit), number) for number in range(counts["128 tokens"])]
    return {
        "short": take(short, counts["short"]),
        "sentences": take(texts, counts["mixed"]),
        "mixed": _mixed(texts, counts["mixed"] // 4),
        "long": long,
        "128 tokens": exact,
    }


def of_tokens(encoder: Encoder, texts: Sequence[str], tokens: int, start: int) -> str:
    """A text of exactly so many tokens (never more, and fewer only where cutting cannot hit the number)."""
    text = " ".join(take(texts[start * 7 % len(texts) :] + texts[:1], 2 + tokens // 4))
    low, high = 1, len(text)
    while low < high:  # the longest beginning that has no more than `tokens`
        middle = (low + high + 1) // 2
        found = encoder.tokenize([text[:middle]])[0]
        if found.truncated or len(found) > tokens:
            high = middle - 1
        else:
            low = middle
    return text[:low]


def _mixed(texts: Sequence[str], count: int) -> list[str]:
    """Lengths as KLUE's tasks have them: 90 % sentences, 10 % paragraphs of 2 to 20 sentences."""
    chance = random.Random(12)  # noqa: S311 - the same texts each time
    parts = [1 if chance.random() < 0.9 else chance.randint(2, 20) for _ in range(count)]
    return [" ".join(chance.choice(texts) for _ in range(some)) for some in parts]


def _korsts(path: Path) -> list[str]:
    rows = [line.split("\t") for line in path.read_text("utf-8").split("\n")[1:] if line]
    return [sentence for row in rows for sentence in row[5:7]]
