"""One model on all sets: encode every text once, then compute each figure in each form."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import safe_open

from munjang.encoder.encode import forward_all
from munjang_trainer.evaluation.bootstrap import interval
from munjang_trainer.evaluation.figures import MAIN, judge, named
from munjang_trainer.evaluation.forms import forms_of
from munjang_trainer.evaluation.results import Results, SetResult, Size, Speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.vectors import Precision
    from munjang_trainer.data.table import Table
    from munjang_trainer.evaluation.figures import Sample
    from munjang_trainer.evaluation.forms import Form
    from munjang_trainer.evaluation.subject import Subject

TEXTS_AT_ONCE = 1024


class Scope(NamedTuple):
    """What is measured beside the plain figures, and how sure of them to be.

    Attributes:
        prompt: the prompt's name; a model without it uses its default prompt.
        dimensions: Matryoshka cuts; those that a model does not have are left out.
        precisions: number formats.
        resamples, confidence, seed: of the bootstrap.
        budget: tokens of one forward.
    """

    prompt: str = ""
    dimensions: tuple[int, ...] = ()
    precisions: tuple[Precision, ...] = ()
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 42
    budget: int = 4096


class Measured(NamedTuple):
    """Results, and the main figure of each set taken apart, to compare with another model's."""

    results: Results
    samples: dict[str, Sample]


def measure(
    subject: Subject, tables: Mapping[str, Table], scope: Scope, progress: Callable[[int, int], None] | None = None
) -> Measured:
    """Evaluate a model; `progress` is told texts encoded and texts in all."""
    prompt = scope.prompt if scope.prompt in subject.encoder.info.prompts else ""
    texts = list(dict.fromkeys(text for table in tables.values() for text in table.texts()))
    raw, speed = _encode(subject, texts, prompt, scope.budget, progress)
    finite = bool(np.isfinite(raw).all())
    row_of = {text: row for row, text in enumerate(texts)}
    cuts = tuple(cut for cut in scope.dimensions if cut < raw.shape[1])
    forms = forms_of(cuts, scope.precisions, subject.int8_scale)
    sets: dict[str, SetResult] = {}
    samples: dict[str, Sample] = {}
    for name, table in tables.items() if finite else ():
        figures, samples[name] = _judge(table, raw, row_of, forms, subject.int8_scale)
        spread = interval(samples[name], resamples=scope.resamples, confidence=scope.confidence, seed=scope.seed)
        sets[name] = SetResult(
            kind=table.kind,
            rows=len(table.rows),
            sha256=table.fingerprint(),
            main=MAIN[table.kind],
            interval=spread,
            figures=figures,
        )
    used = prompt or subject.encoder.info.default_prompt
    size = _size(subject)
    return Measured(Results(model=subject.name, prompt=used, finite=finite, sets=sets, speed=speed, size=size), samples)


def _judge(
    table: Table, raw: NDArray[np.float32], row_of: Mapping[str, int], forms: Iterable[Form], int8_scale: float
) -> tuple[dict[str, float], Sample]:
    """The figures of one set in all forms, and the sample of the first form."""
    figures: dict[str, float] = {}
    first: Sample | None = None
    for form in forms:

        def vector_of(texts: Sequence[str], form: Form = form) -> NDArray[np.float32]:
            return form.apply(raw[[row_of[text] for text in texts]], int8_scale)

        found, sample = judge(table, vector_of)
        figures |= named(form, found)
        first = first or sample
    if first is None:
        msg = "there is always the plain form"
        raise AssertionError(msg)
    return figures, first


def _encode(
    subject: Subject,
    texts: list[str],
    prompt: str,
    budget: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.float32], Speed]:
    encoder = subject.encoder
    rows = np.empty((len(texts), encoder.info.dimensions), np.float32)
    tokens = 0
    began = time.perf_counter()
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = encoder.tokenize(texts[start : start + TEXTS_AT_ONCE], prompt)
        tokens += sum(map(len, chunk))
        rows[start : start + len(chunk)] = forward_all(encoder, chunk, budget=budget)
        if progress is not None:
            progress(start + len(chunk), len(texts))
    seconds = max(time.perf_counter() - began, 1e-9)
    return rows, Speed(
        texts=len(texts),
        tokens=tokens,
        seconds=round(seconds, 3),
        texts_per_second=round(len(texts) / seconds, 1),
        tokens_per_second=round(tokens / seconds, 1),
        runtime=encoder.runtime,
        compute_type=encoder.compute_type,
    )


def _size(subject: Subject) -> Size:
    files = [path for path in subject.folder.rglob("*") if path.is_file()]
    return Size(
        dimensions=subject.encoder.info.dimensions,
        max_tokens=subject.encoder.info.max_tokens,
        parameters=sum(_parameters(path) for path in files if path.suffix == ".safetensors"),
        bytes_on_disk=sum(path.stat().st_size for path in files),
    )


def _parameters(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - has keys() only
