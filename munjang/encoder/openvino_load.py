"""A sentence-transformers folder by OpenVINO: from its export if there is one, else through torch once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from munjang.encoder import export as exports
from munjang.encoder.load import LoadOptions, SentenceEncoder
from munjang.encoder.openvino_model import OpenVinoForward, supported
from munjang.encoder.tokenizer import TextTokenizer
from munjang.errors import ConfigurationError, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

    import openvino

    from munjang.encoder.rules import Rules


def load_openvino(folder: Path, options: LoadOptions) -> SentenceEncoder:
    """Load a folder into OpenVINO on the CPU; see `load_encoder`.

    Raises:
        ConfigurationError: the processor does not compute in that number format.
        ModelLoadFailed: the folder cannot be loaded at all.
        UnsupportedModel: not a plain transformer; torch runs it.
        Exception: whatever OpenVINO raises for an architecture that it cannot convert; torch runs it.
    """
    compute_type = "float32" if options.compute_type == "auto" else options.compute_type
    if not supported(compute_type):
        msg = f"this processor does not compute in {compute_type}"
        raise ConfigurationError(msg, field="compute_type")
    graph, rules = _int8(folder, options) if compute_type == "int8" else _exact(folder, options)
    forward = OpenVinoForward(graph, rules, compute_type=compute_type, threads=options.threads, pauses=options.pauses)
    info = rules.info(options.int8_scale)
    return SentenceEncoder(info, "openvino", compute_type, TextTokenizer(rules), forward)


def _exact(folder: Path, options: LoadOptions) -> tuple[openvino.Model, Rules]:
    return (options.export and exports.read(options.export)) or _convert(folder, options)


def _int8(folder: Path, options: LoadOptions) -> tuple[openvino.Model, Rules]:
    """The graph in int8, kept beside the exact one."""
    kept = options.export and options.export.with_name(f"{options.export.name}-int8")
    if kept and (found := exports.read(kept)):
        return found
    from munjang.encoder.int8 import quantized  # noqa: PLC0415 - only where it is asked for

    graph, rules = _exact(folder, options)
    return _kept(quantized(graph, rules), rules, kept, options)


def _kept(
    graph: openvino.Model, rules: Rules, folder: Path | None, options: LoadOptions
) -> tuple[openvino.Model, Rules]:
    """Keep an export, and give what a later load will read, so that both compute the same to the last bit."""
    if folder is not None:
        exports.write(graph, rules, folder, options.exports_kept)
        return exports.read(folder) or (graph, rules)
    return graph, rules


def _convert(folder: Path, options: LoadOptions) -> tuple[openvino.Model, Rules]:
    import torch  # noqa: PLC0415 - only where there is no export yet

    from munjang.encoder.torch_load import load_model, plain_rules  # noqa: PLC0415

    model = load_model(folder, torch.device("cpu"), torch.float32)
    rules = plain_rules(model)
    if rules is None or not rules.pools_prompt:
        msg = "only transformers with a fast tokenizer whose pooling reads the whole text are exported"
        raise UnsupportedModel(msg)
    return _kept(*_right_graph(list(model), rules), options.export, options)


def _right_graph(modules: list[Any], plain: Rules) -> tuple[openvino.Model, Rules]:
    """A graph that gives the model's own vectors: one that packs if there is one, else one text a row.

    Tracing keeps one way through the library's code, which is not the right one for all inputs of some architectures.
    """
    import torch  # noqa: PLC0415 - only where there is no export yet

    from munjang.encoder import packing as trial  # noqa: PLC0415 - the same
    from munjang.encoder.pipeline import Attention  # noqa: PLC0415

    texts = trial.sample(plain.max_tokens)
    expected = trial.alone(modules, texts, plain)
    packed = trial.packing(modules, plain, Attention.ROWS)
    for rules in [packed, plain] if packed.packs else [plain]:
        graph = exports.convert(modules, rules)
        found = OpenVinoForward(graph, rules, compute_type="float32", threads=0)(texts)
        if trial.least_cosine(expected, torch.from_numpy(found)) >= trial.SAME:
            return graph, rules
    msg = "its traced graph gives other vectors than the model"
    raise UnsupportedModel(msg)
