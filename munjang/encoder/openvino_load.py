"""A sentence-transformers folder by OpenVINO: from its export if there is one, else through torch once."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    graph, rules = (options.export and exports.read(options.export)) or _convert(folder, options)
    forward = OpenVinoForward(graph, rules, compute_type=compute_type, threads=options.threads)
    return SentenceEncoder(rules.info(options.int8_scale), "openvino", compute_type, TextTokenizer(rules), forward)


def _convert(folder: Path, options: LoadOptions) -> tuple[openvino.Model, Rules]:
    import torch  # noqa: PLC0415 - only where there is no export yet

    from munjang.encoder.torch_load import load_model, plain_rules  # noqa: PLC0415

    model = load_model(folder, torch.device("cpu"), torch.float32)
    rules = plain_rules(model)
    if rules is None or not rules.pools_prompt:
        msg = "only transformers with a fast tokenizer whose pooling reads the whole text are exported"
        raise UnsupportedModel(msg)
    graph = exports.convert(list(model), rules)
    if options.export is not None:
        exports.write(graph, rules, options.export, options.exports_kept)
    return graph, rules
