"""Evaluates a model on all sets: encodes each text once, computes each metric in each vector format; compares two."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import safe_open

from munjang.encoder.encode import forward_all
from munjang.encoder.postprocess import OutputOptions, finish
from munjang.encoder.prompting import prompting
from munjang.errors import ConfigurationError
from munjang.vectors import Precision, pack, unpack
from munjang_trainer.evaluation.metrics import MAIN_METRIC, compute_samples, difference, figures_of, interval
from munjang_trainer.evaluation.results import Comparison, Results, SetResult, Size, Speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.kinds import Role
    from munjang_trainer.data.table import Table
    from munjang_trainer.evaluation.metrics import Sample
    from munjang_trainer.evaluation.models import LoadedModel


@dataclass(frozen=True, slots=True)
class VectorFormat:
    """A number of dimensions and a precision; `name` is "" for the plain form, the whole vector in float32."""

    dimensions: int = 0
    precision: Precision = Precision.FLOAT32

    @property
    def name(self) -> str:
        """The form as metrics name it: "", "int8", "128d" or "128d.int8"."""
        parts = [f"{self.dimensions}d"] if self.dimensions else []
        parts += [str(self.precision)] if self.precision is not Precision.FLOAT32 else []
        return ".".join(parts)

    def apply(self, raw: NDArray[np.float32], int8_scale: float) -> NDArray[np.float32]:
        """Raw vectors [n, D] as a caller receives them in this form, read back as float32 [n, d].

        The plain form stays as the model gives it, not normalised, so dot products can differ from cosines. Binary
        components come out as −1 and 1.
        """
        if not self.name:
            return raw
        rows = finish(raw, OutputOptions(dimensions=self.dimensions, precision=self.precision))
        width = rows.shape[1]
        back = unpack(pack(rows, self.precision, int8_scale), len(rows), width, self.precision)
        if self.precision is Precision.UBINARY:
            bits = np.unpackbits(back.astype(np.uint8), axis=1)[:, :width]
            return bits.astype(np.float32) * 2 - 1
        return back.astype(np.float32)


def vector_formats(
    dimensions: tuple[int, ...], precisions: tuple[Precision, ...], int8_scale: float
) -> list[VectorFormat]:
    """The plain form, each precision that the model can give, and each cut."""
    able = [p for p in precisions if p is not Precision.FLOAT32 and (p is not Precision.INT8 or int8_scale > 0)]
    return [
        VectorFormat(),
        *(VectorFormat(precision=precision) for precision in able),
        *(VectorFormat(dimensions=cut) for cut in dimensions),
    ]


TEXTS_AT_ONCE = 1024


class EvaluationOptions(NamedTuple):
    """What is measured besides the plain metrics, and at which confidence.

    Attributes:
        prompt: the name of the prompt of texts that have no role; a model without it uses its default prompt. Queries
            and documents have the prompts of their roles.
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


class Evaluation(NamedTuple):
    """Results, and each set's metrics by row (of the plain vectors), to compare with another model's."""

    results: Results
    samples: dict[str, dict[str, Sample]]


def evaluate_model(
    loaded: LoadedModel,
    tables: Mapping[str, Table],
    scope: EvaluationOptions,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a model; `progress` gets the number of texts encoded and of all texts."""
    prompt = scope.prompt if scope.prompt in loaded.encoder.info.prompts else ""
    texts = list(dict.fromkeys(text for table in tables.values() for text in table.texts_by_role()))
    raw, speed = _encode(loaded, texts, prompt, scope.budget, progress)
    finite = bool(np.isfinite(raw).all())
    row_of = {text: row for row, text in enumerate(texts)}
    cuts = tuple(cut for cut in scope.dimensions if cut < raw.shape[1])
    forms = vector_formats(cuts, scope.precisions, loaded.int8_scale)
    sets: dict[str, SetResult] = {}
    samples: dict[str, dict[str, Sample]] = {}
    for name, table in tables.items() if finite else ():
        figures, samples[name] = _judge(table, raw, row_of, forms, loaded.int8_scale)
        main = samples[name][MAIN_METRIC[table.kind]]
        spread = interval(main, resamples=scope.resamples, confidence=scope.confidence, seed=scope.seed)
        sets[name] = SetResult(
            kind=table.kind,
            rows=len(main.values),
            sha256=table.fingerprint(),
            main=MAIN_METRIC[table.kind],
            interval=spread,
            figures=figures,
        )
    used = prompt or loaded.encoder.info.default_prompt
    results = Results(model=loaded.name, prompt=used, finite=finite, sets=sets, speed=speed, size=_size(loaded))
    return Evaluation(results, samples)


def _judge(
    table: Table,
    raw: NDArray[np.float32],
    row_of: Mapping[tuple[Role | None, str], int],
    forms: Iterable[VectorFormat],
    int8_scale: float,
) -> tuple[dict[str, float], dict[str, Sample]]:
    """The metrics of one set in all forms, and the samples of the first form."""
    figures: dict[str, float] = {}
    samples: list[dict[str, Sample]] = []
    for form in forms:

        def vectors_of(texts: Sequence[str], role: Role | None, form: VectorFormat = form) -> NDArray[np.float32]:
            return form.apply(raw[[row_of[role, text] for text in texts]], int8_scale)

        samples.append(compute_samples(table, vectors_of))
        found = figures_of(samples[-1])
        figures |= {f"{form.name}.{name}" if form.name else name: value for name, value in found.items()}
    return figures, samples[0]


def _encode(
    loaded: LoadedModel,
    texts: Sequence[tuple[Role | None, str]],
    prompt: str,
    budget: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.float32], Speed]:
    encoder = loaded.encoder
    rows = np.empty((len(texts), encoder.info.dimensions), np.float32)
    tokens = done = 0
    began = time.perf_counter()
    for role in dict.fromkeys(role for role, _ in texts):
        how = prompting(encoder.info, prompt_name="" if role else prompt, role=role)
        places = [place for place, (other, _) in enumerate(texts) if other == role]
        for start in range(0, len(places), TEXTS_AT_ONCE):
            part = places[start : start + TEXTS_AT_ONCE]
            chunk = encoder.tokenize([texts[place][1] for place in part], how)
            tokens += sum(map(len, chunk))
            rows[part] = forward_all(encoder, chunk, budget=budget)
            done += len(part)
            if progress is not None:
                progress(done, len(texts))
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


def _size(loaded: LoadedModel) -> Size:
    files = [path for path in loaded.folder.rglob("*") if path.is_file()]
    return Size(
        dimensions=loaded.encoder.info.dimensions,
        max_tokens=loaded.encoder.info.max_tokens,
        parameters=sum(_parameters(path) for path in files if path.suffix == ".safetensors"),
        bytes_on_disk=sum(path.stat().st_size for path in files),
    )


def _parameters(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - has keys() only


def compare(first: Evaluation, second: Evaluation, scope: EvaluationOptions) -> Comparison:
    """The second model against the first, both measured on the same sets.

    Raises:
        ConfigurationError: a set of one has another content than that of the other.
    """
    differences = {}
    for name, result in second.results.sets.items():
        other = first.results.sets.get(name)
        if other is None:
            continue
        if other.sha256 != result.sha256:
            msg = f"the two models were measured on different contents of {name!r}"
            raise ConfigurationError(msg, field="evaluation")
        for metric, sample in second.samples[name].items():
            pair = first.samples[name][metric], sample
            change = difference(*pair, resamples=scope.resamples, confidence=scope.confidence, seed=scope.seed)
            differences[f"{name}.{metric}"] = change
    return Comparison(first=first.results, second=second.results, differences=differences, confidence=scope.confidence)
