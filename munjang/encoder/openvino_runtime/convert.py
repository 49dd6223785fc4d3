"""From a sentence-transformers folder to an OpenVINO graph, through torch: traced, compared with the model, kept.

`quantized` makes a graph in int8: half the bytes of bfloat16 and nearly twice the speed, at a cost in exactness that is
measured. Weights are rounded to 8 bits per output channel, activations to 8 bits by their range on sample sentences
(static quantisation; Jacob et al. 2018). Only products with weights are quantised; attention and norms keep their
format.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from openvino.properties import hint

from munjang.encoder.contract import Tokens
from munjang.encoder.model_inputs import arrays, in_frames
from munjang.encoder.openvino_runtime import export as exports
from munjang.encoder.openvino_runtime.compiled import ListForward
from munjang.encoder.openvino_runtime.export import Export
from munjang.encoder.openvino_runtime.passes import fold_scale, is_product, join_heads, merge_projections
from munjang.encoder.prompting import promptings
from munjang.encoder.sequence_packing import Frame
from munjang.encoder.tokenizer import TextTokenizer
from munjang.encoder.torch_runtime import pipeline as trial
from munjang.encoder.torch_runtime.block_sparse import full_attention_limit
from munjang.encoder.torch_runtime.load import changes_with_length, load_model, opened, settle
from munjang.encoder.torch_runtime.pipeline import Attention, Pipeline, find_packing, tensors
from munjang.errors import UnsupportedModel
from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.encoder.model_rules import Rules
    from munjang.encoder.sentence_encoder import LoadOptions

EXAMPLE = (5, 3, 4)
"""Tokens of the texts that a model is traced with."""

LEVELS = 256
"""Values that a number in int8 can have."""

Source = tuple[str, int]
"""Where an activation comes from: a node's name and the number of its output."""


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
    model = load_model(folder, torch.device("cpu"), torch.float32, options.kind)
    settle(model, folder)
    modules, rules = opened(model, options.kind)
    if rules is None or not rules.pools_prompt:
        msg = "only transformers with a fast tokenizer whose pooling reads the whole text are exported"
        raise UnsupportedModel(msg)
    if changes_with_length(modules[0].model.config) or full_attention_limit(modules[0]) is not None:
        msg = "it computes long texts in another way than short ones, and a traced graph has one way"
        raise UnsupportedModel(msg)
    return _right_graph(modules, rules, options.threads)


def _right_graph(modules: list[Any], plain: Rules, threads: int) -> Export:
    """A graph that gives the model's own vectors: one that packs if there is one, else one text a row.

    Tracing keeps one way through the library's code, which is not the right one for all inputs of some architectures.
    """
    texts = trial.sample(plain.max_tokens, modules[0].model)
    expected = trial.alone(modules, texts, plain)
    packed = find_packing(modules, plain, Attention.ROWS)
    for rules in [packed, plain] if packed.packs else [plain]:
        traced = Export(_trace(modules, rules), rules)
        found = ListForward(traced, compute_type="float32", threads=threads)(texts)
        if trial.agreement(expected[:, : rules.dimensions], torch.from_numpy(found)) >= trial.SAME:
            return traced
    msg = "its traced graph gives other vectors than the model"
    raise UnsupportedModel(msg)


def _trace(modules: list[Any], rules: Rules) -> openvino.Model:
    """Trace a transformer with its pooling into a graph of dynamic frames, which reads `model_inputs.arrays`.

    Raises:
        Exception: whatever torch or OpenVINO raise for an architecture that cannot be traced.
    """
    texts = [Tokens((5,) * length) for length in EXAMPLE]
    frame = Frame(sum(EXAMPLE), ((0, 1), (2,)) if rules.packs else ((0,), (1,), (2,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every Python branch in the library's own code
        pipeline = Pipeline(modules, Attention.ROWS if rules.packs else Attention.PADDED, rules.dimensions).eval()
        graph = openvino.convert_model(pipeline, example_input=tensors(arrays(frame, texts, rules)))
    fold_scale(graph)
    merge_projections(graph)
    join_heads(graph)
    return graph


def quantized(graph: openvino.Model, rules: Rules) -> openvino.Model:
    """The same graph with its products in int8, calibrated on sentences under each of the model's prompts."""
    ranges = _ranges(graph, rules)
    found = graph.clone()
    rounded: dict[Source, openvino.Output] = {}
    for product in _products(found):
        source = product.input_value(0)
        name = _name(source)
        if name not in rounded:
            rounded[name] = _rounded(source, *ranges[name])
        weights: NDArray[np.float32] = product.input_value(1).get_node().data
        limit = np.abs(weights).max(axis=1, keepdims=True)
        exact = ops.constant(weights).output(0)
        replaced = ops.matmul(rounded[name], _rounded(exact, -limit, limit), transpose_a=False, transpose_b=True)
        product.output(0).replace(replaced.output(0))
    found.validate_nodes_and_infer_types()
    return found


def _products(graph: openvino.Model) -> list[openvino.Node]:
    """The products of an activation [..., k] with constant weights [n, k]."""
    return [node for node in graph.get_ordered_ops() if is_product(node)]


def _ranges(graph: openvino.Model, rules: Rules) -> dict[Source, tuple[np.float32, np.float32]]:
    """The least and the greatest value of each activation that is multiplied with weights, padding left out."""
    watched = graph.clone()
    sources = {_name(product.input_value(0)): product.input_value(0) for product in _products(watched)}
    watched.add_outputs(list(sources.values()))
    config = {hint.inference_precision(): openvino.Type.f32}
    request = openvino.Core().compile_model(watched, "CPU", config).create_infer_request()
    ranges = dict.fromkeys(sources, (np.float32(np.inf), np.float32(-np.inf)))

    def run(given: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        request.infer(given, share_inputs=True)
        real = given["segments"].reshape(-1) > 0
        for number, (name, (low, high)) in enumerate(ranges.items(), 1):
            data = request.get_output_tensor(number).data
            seen = data.reshape(-1, data.shape[-1])
            seen = seen[real] if len(seen) == len(real) else seen  # behind the pooling there are no tokens
            ranges[name] = min(low, seen.min()), max(high, seen.max())
        return np.array(request.get_output_tensor(0).data)

    tokenize = TextTokenizer(rules)
    in_frames([tokens for how in promptings(rules.prompts) for tokens in tokenize(SENTENCES, how)], rules, run)
    return ranges


def _rounded(values: openvino.Output, low: np.ndarray | np.float32, high: np.ndarray | np.float32) -> openvino.Output:
    """Values on one of 256 levels from `low` to `high`."""
    ends = [ops.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return ops.fake_quantize(values, *ends, *ends, LEVELS).output(0)


def _name(source: openvino.Output) -> Source:
    return source.get_node().get_friendly_name(), source.get_index()
