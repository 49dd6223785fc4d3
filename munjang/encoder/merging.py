"""Queries, keys and values of a layer by one product: fewer and larger steps, with the same result to the last bit.

Each of the three is a product of the same token vectors with weights of its own. One product with all weights below
each other gives them side by side, and one transpose brings them into the order that attention reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from openvino import opset13 as ops

from munjang.encoder.nodes import attentions, constant, is_product, kind, turns

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

EACH_TURNED = [2, 0, 3, 1, 4]
"""The order of a transpose from [rows, tokens, 3, heads, d] to [3, rows, heads, tokens, d]."""


class Projection(NamedTuple):
    """How queries, keys or values are made of token vectors.

    Attributes:
        source: the token vectors [rows, tokens, hidden].
        weights: float32 [heads × d, hidden].
        bias: float32 [heads × d]; zeros where there is none.
        heads: their number, and the size d of each.
    """

    source: openvino.Output
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    heads: tuple[int, int]


def merge_projections(graph: openvino.Model) -> int:
    """Make queries, keys and values by one product, in place, wherever that is the same; in how many layers."""
    return sum(_merge(attention) for attention in attentions(graph))


def _merge(attention: openvino.Node) -> bool:
    found = [_projection(attention.input_value(place)) for place in range(3)]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found) or any((part.source, part.heads) != (parts[0].source, parts[0].heads) for part in parts):
        return False
    weights = ops.constant(np.concatenate([part.weights for part in parts]))
    bias = ops.constant(np.concatenate([part.bias for part in parts]))
    together = ops.add(ops.matmul(parts[0].source, weights, transpose_a=False, transpose_b=True), bias)
    heads = ops.reshape(together, ops.constant(np.array([0, 0, 3, *parts[0].heads])), special_zero=True)
    split = ops.split(ops.transpose(heads, ops.constant(EACH_TURNED)), ops.constant(0), 3)
    for place in range(3):
        attention.input(place).replace_source_output(ops.squeeze(split.output(place), ops.constant([0])).output(0))
    return True


def _projection(value: openvino.Output) -> Projection | None:
    """How this input of attention is made, if by a product and a sum with constants; None if in any other way."""
    if not turns(value.get_node()):
        return None
    view = value.get_node().input_value(0).get_node()
    shape = constant(view, 1) if kind(view) == "Reshape" else None
    if shape is None or list(shape[:-2]) != [0, 0]:
        return None
    heads, size = map(int, shape[-2:])
    node = view.input_value(0).get_node()
    bias: NDArray[Any] | None = np.zeros(heads * size, np.float32)
    if kind(node) == "Add":
        bias, node = constant(node, 1), node.input_value(0).get_node()
    if bias is None or bias.size != heads * size or not is_product(node):
        return None
    weights: Any = constant(node, 1)
    return Projection(node.input_value(0), weights, bias.reshape(-1), (heads, size))
