"""Run the shapes that a model will serve once before it serves, so that the first calls on it are not the slow ones."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

from munjang.encoder.contract import Tokens
from munjang.encoder.sequence_packing import SHORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.encoder.contract import Encoder

WIDTHS = (*range(4, SHORT + 1, 4), 96, 128, 192, 256, 384, 512)
"""Tokens of single texts to warm, up to the model's own limit: every width of a short one, and some of long ones."""

ROWS = range(2, 9)
"""Rows of short texts to warm: batches of up to so many are formed while few callers are about."""

SAMPLE = "새로운 문장 임베딩 모델을 서비스하기 전에 한 번씩 미리 돌려 봅니다. "


def warm(encoder: Encoder, budget: int, longest: float = math.inf) -> None:
    """Run one text at each width, shortest first, then rows of short texts, then one as large a batch as will come.

    That is one of `budget` tokens, or fewer where those take more than `longest` seconds; then a share of it as it runs
    beside others.
    """
    texts = _longest_sample(encoder)
    for width in _widths(len(texts)):
        encoder.forward([cut(texts, width)])
    short = cut(texts, SHORT)
    seconds = 0.0
    for rows in ROWS:
        if rows * len(short) <= budget:
            begun = time.perf_counter()
            encoder.forward([short] * rows)
            seconds = (time.perf_counter() - begun) / rows
    most = int(min(budget // len(short), longest / seconds if seconds else math.inf))
    if most > ROWS[-1]:
        encoder.forward([short] * most)
    if encoder.streams > 1:
        _beside_each_other(encoder, [short] * max(1, most // encoder.streams))


def _beside_each_other(encoder: Encoder, batch: list[Tokens]) -> None:
    """A batch on every stream at a time: each has memory of its own."""
    together = Barrier(encoder.streams)

    def run(_: int) -> None:
        together.wait()
        encoder.forward(batch, share=True)

    with ThreadPoolExecutor(encoder.streams) as threads:
        list(threads.map(run, range(encoder.streams)))


def cut(tokens: Tokens, width: int) -> Tokens:
    """The first `width` tokens of a text, as a text of its own for warming."""
    return Tokens(tokens.ids[:width], tokens.type_ids[:width], tokens.prompt_tokens, text=tokens.text)


def _longest_sample(encoder: Encoder) -> Tokens:
    """Korean words that fill the model, or the widest width that is warmed."""
    wanted = min(encoder.info.max_tokens, WIDTHS[-1])
    text = SAMPLE * (1 + wanted // 10)
    return cut(encoder.tokenize([text])[0], wanted)


def _widths(longest: int) -> Iterator[int]:
    yield from (width for width in WIDTHS if width < longest)
    yield longest
