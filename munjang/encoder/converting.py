"""From a sentence-transformers folder to an OpenVINO graph, through torch: traced, tried against the model, kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from munjang.encoder import export as exports
from munjang.encoder import packing as trial
from munjang.encoder.compiled import ListForward
from munjang.encoder.export import Export
from munjang.encoder.int8 import quantized
from munjang.encoder.pipeline import Attention
from munjang.encoder.torch_load import load_model, plain_rules
from munjang.errors import UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

    from munjang.encoder.load import LoadOptions
    from munjang.encoder.rules import Rules


def convert(folder: Path, options: LoadOptions) -> Export:
    """The folder's export, in int8 where the options say so; kept where they say so.

    Raises:
        ModelLoadFailed: the folder cannot be loaded at all.
        UnsupportedModel: not a plain transformer, or its graph gives other vectors; torch runs it.
        Exception: whatever torch or OpenVINO raise for an architecture that cannot be traced.
    """
    kept = options.export
    exact = (kept and exports.read(kept)) or _kept(_exact(folder, options), kept, options)
    if options.compute_type != "int8":
        return exact
    inexact = Export(quantized(exact.graph, exact.rules), exact.rules, exact.file)
    return _kept(inexact, kept and exports.place(kept, "int8"), options)


def _kept(made: Export, folder: Path | None, options: LoadOptions) -> Export:
    """Keep an export, and give what a later load will read, so that both compute the same to the last bit."""
    if folder is not None:
        exports.write(made, folder, options.exports_kept)
        return exports.read(folder) or made
    return made


def _exact(folder: Path, options: LoadOptions) -> Export:
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load_model(folder, torch.device("cpu"), torch.float32)
    rules = plain_rules(model)
    if rules is None or not rules.pools_prompt:
        msg = "only transformers with a fast tokenizer whose pooling reads the whole text are exported"
        raise UnsupportedModel(msg)
    return _right_graph(list(model), rules, options.threads)


def _right_graph(modules: list[Any], plain: Rules, threads: int) -> Export:
    """A graph that gives the model's own vectors: one that packs if there is one, else one text a row.

    Tracing keeps one way through the library's code, which is not the right one for all inputs of some architectures.
    """
    texts = trial.sample(plain.max_tokens)
    expected = trial.alone(modules, texts, plain)
    packed = trial.packing(modules, plain, Attention.ROWS)
    for rules in [packed, plain] if packed.packs else [plain]:
        traced = Export(exports.convert(modules, rules), rules)
        found = ListForward(traced, compute_type="float32", threads=threads)(texts)
        if trial.least_cosine(expected, torch.from_numpy(found)) >= trial.SAME:
            return traced
    msg = "its traced graph gives other vectors than the model"
    raise UnsupportedModel(msg)
