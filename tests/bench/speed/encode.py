"""Section `encode`: whole lists in one process: sentence-transformers, a plain OpenVINO loop, our encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import openvino
import torch
from sentence_transformers import SentenceTransformer

from munjang.encoder.encode import encode
from munjang.encoder.load import ComputeType, LoadOptions, Runtime, SentenceEncoder, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.errors import ConfigurationError, ModelLoadFailed
from tests.bench.speed import machine, texts
from tests.bench.speed.plain import PlainOpenVino
from tests.bench.speed.stats import interleave, ratio, summary, timed
from tests.bench.speed.work import read_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.bench.speed.context import Context

    Encode = Callable[[list[str]], NDArray[np.float32]]

DEFAULT = "sentence-transformers encode, float32"
BAR = "OpenVINO bfloat16, token-budget batches"
SECONDS = {"short": 60, "sentences": 180, "mixed": 120, "long": 100, "128 tokens": 100, "Korean and English": 300}
QUICK = ("sentences", "128 tokens")
PEAKS = {
    "peak: torch float32": lambda: machine.torch_peak(torch.float32),
    "peak: torch bfloat16": lambda: machine.torch_peak(torch.bfloat16),
    "peak: OpenVINO float32": lambda: machine.openvino_peak(openvino.Type.f32),
    "peak: OpenVINO bfloat16": lambda: machine.openvino_peak(openvino.Type.bf16),
}


def measure(context: Context) -> dict[str, Any]:
    """What `compare` finds on the benchmark's own sets of Korean texts."""
    sets = texts.sets(context.texts, context.encoder(), quick=context.quick)
    chosen = {name: some for name, some in sets.items() if not context.quick or name in QUICK}
    return compare(context.folder, context.work, chosen, context.rounds)


def compare(folder: Path, work: Path, sets: Mapping[str, list[str]], rounds: int) -> dict[str, Any]:
    """Sentences a second of each way by set of texts, its worst cosine to float32, and its share of the peak."""
    ways, missing = contestants(folder, work)
    reader = load_encoder(folder, LoadOptions(device="cpu", export=work / "exports" / "bench"))
    shape = read_shape(folder)
    found: dict[str, Any] = {"missing": missing, "bandwidth": machine.read_bandwidth(), "sets": {}}
    for name, some in sets.items():
        lengths = [len(tokens) for tokens in reader.tokenize(some)]
        figures = _measure_set(ways, some, rounds, SECONDS[name])
        operations = shape.operations(lengths)
        found["sets"][name] = {
            "texts": len(some),
            "tokens": sum(lengths) / len(lengths),
            "operations": operations,
            "weight_bytes": shape.weight_bytes(4),
            **figures,
        }
        _add_shares(found["sets"][name], operations)
    return found


def contestants(folder: Path, work: Path) -> tuple[dict[str, Encode], dict[str, str]]:
    """The ways to encode that this machine has, by name, and why others are missing."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    ways: dict[str, Encode] = {DEFAULT: lambda some: model.encode(some, show_progress_bar=False)}
    missing: dict[str, str] = {}
    if machine_has_bfloat16():
        ways[BAR] = PlainOpenVino(str(folder)).encode
    else:
        ways[BAR.replace("bfloat16", "float32")] = PlainOpenVino(str(folder), bfloat16=False).encode
        missing[BAR] = "this processor does not compute in bfloat16"
    for runtime in get_args(Runtime):
        for kind in get_args(ComputeType):
            if "auto" in {runtime, kind} or kind == "float16":
                continue
            options = LoadOptions(device="cpu", runtime=runtime, compute_type=kind, export=work / "exports" / "bench")
            try:
                encoder = load_encoder(folder, options)
            except (ConfigurationError, ModelLoadFailed) as error:
                missing[f"munjang {runtime} {kind}"] = str(error)
                continue
            ways[f"munjang {runtime} {kind}"] = _ours(encoder)
    return ways, missing


def machine_has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 here."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _ours(encoder: SentenceEncoder) -> Encode:
    return lambda some: normalized(encode(encoder, some))


def _measure_set(ways: Mapping[str, Encode], some: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    truth = ways[DEFAULT](some)
    cosines = {name: float(np.einsum("ij,ij->i", way(some), truth).min()) for name, way in ways.items()}

    def rate(way: Encode) -> Callable[[], float]:
        return lambda: len(some) / timed(lambda: way(some))

    values = interleave({name: rate(way) for name, way in ways.items()} | PEAKS, rounds, seconds)
    peaks = {name: values.pop(name) for name in PEAKS}
    base, bar = values[DEFAULT], values.get(BAR, values[DEFAULT])
    rows = {
        name: {
            **summary(found),
            "worst_cosine": cosines[name],
            "times_default": ratio(found, base),
            "times_bar": ratio(found, bar),
        }
        for name, found in values.items()
    }
    return {"rates": rows, "peaks": {name: summary(found) for name, found in peaks.items()}}


def _add_shares(found: dict[str, Any], operations: float) -> None:
    """Gop/s of each way, and its share of the peak of its own number format, round by round."""
    for name, row in found["rates"].items():
        kind = "bfloat16" if "bfloat16" in name else "float32"
        peaks = [found["peaks"][peak]["rounds"] for peak in PEAKS if peak.endswith(kind)]
        best = [max(some) for some in zip(*peaks, strict=True)]
        done = [operations * rate / found["texts"] for rate in row["rounds"]]
        row["gops"] = summary(done)["median"] / 1e9  # type: ignore[operator]  # a float
        row["share_of_peak"] = ratio(done, best)
