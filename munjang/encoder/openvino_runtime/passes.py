"""Passes over a traced graph: fewer and larger operations, and no computed shapes, in place and with the same result.

- `fold_scale`: attention's scale becomes part of the queries' weights: one rounding less in a short number format.
- `merge_projections`: one product makes queries, keys and values of a layer, instead of three.
- `join_heads`: a constant shape joins the heads of attention. Tracing computes that shape in each layer, and
  OpenVINO waits for a computed shape whenever a frame has another size than the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from openvino import opset13 as ops

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino
    from numpy.typing import NDArray

QUERY, SCALE = 0, 4
"""Inputs of attention."""

TURNED = (0, 2, 1, 3)
"""The order of a transpose from [rows, tokens, heads, d] to [rows, heads, tokens, d], and back."""

EACH_TURNED = [2, 0, 3, 1, 4]
"""The order of a transpose from [rows, tokens, 3, heads, d] to [3, rows, heads, tokens, d]."""


def fold_scale(graph: openvino.Model) -> int:
    """Scale the queries' weights instead of the scores, in place, wherever the result is the same; how often."""
    folded = 0
    for attention in attentions(graph):
        if attention.get_input_size() <= SCALE:
            continue
        scale = constant(attention, SCALE)
        weights = _weights(attention.input_value(QUERY))
        if scale is None or not weights:
            continue
        for node in weights:
            node.input(1).replace_source_output(ops.constant(scale * node.input_value(1).get_node().data).output(0))
        attention.input(SCALE).replace_source_output(ops.constant(np.ones_like(scale)).output(0))
        folded += 1
    return folded


def _weights(queries: openvino.Output) -> list[openvino.Node]:
    """The product and the sum with constants that make the queries, if nothing else reads the queries; else none."""
    found: list[openvino.Node] = []
    while len(queries.get_target_inputs()) == 1:
        node = queries.get_node()
        match kind(node):
            case "Transpose" | "Reshape":
                pass
            case "Add" if constant(node, 1) is not None and not found:
                found.append(node)
            case "MatMul" if constant(node, 1) is not None:
                return [*found, node]
            case _:
                return []
        queries = node.input_value(0)
    return []


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
    """Make queries, keys and values by one product, in place, wherever the result is the same; in how many layers."""
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
    if shape is None or list(shape[:-2]) != [0, 0] or min(shape[-2:]) < 1:
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


def join_heads(graph: openvino.Model) -> int:
    """Replace the computed shapes behind attention by constant ones, in place; in how many layers."""
    return sum(_join(attention.output(0)) for attention in attentions(graph))


def _join(values: openvino.Output) -> bool:
    """Read values [rows, heads, tokens, d] as [rows, tokens, heads × d], where that is what follows; whether it is."""
    turn = _behind(values) if rank(values) == 4 else None  # noqa: PLR2004 - rows, heads, tokens, d
    joined = turn and reader(turn.output(0))
    if turn is None or joined is None or not _computes(joined, 3):
        return False
    heads, size = (values.get_partial_shape()[place] for place in (1, 3))
    if heads.is_dynamic or size.is_dynamic:
        return False
    turn.input(0).replace_source_output(values)
    shape = ops.constant(np.array([0, 0, heads.get_length() * size.get_length()]))
    together = ops.reshape(turn.output(0), shape, special_zero=True)
    for place in joined.output(0).get_target_inputs():
        place.replace_source_output(together.output(0))
    return True


def _behind(values: openvino.Output) -> openvino.Node | None:
    """The transpose that brings the heads of a token together; tracing may put a reshape of no effect before it."""
    node = reader(values)
    if node is not None and _computes(node, 4):
        node = reader(node.output(0))
    return node if node is not None and turns(node) else None


def _computes(node: openvino.Node, dimensions: int) -> bool:
    """Whether it reshapes its input to a computed shape of this many dimensions."""
    return kind(node) == "Reshape" and constant(node, 1) is None and rank(node.output(0)) == dimensions


def attentions(graph: openvino.Model) -> Iterator[openvino.Node]:
    """The attention of each layer, first layer first, as the graph is now. Inputs 0 to 2: queries, keys and values."""
    return (node for node in graph.get_ordered_ops() if kind(node) == "ScaledDotProductAttention")


def kind(node: openvino.Node) -> str:
    """The name of what a node does."""
    name: str = node.get_type_name()
    return name


def constant(node: openvino.Node, place: int) -> NDArray[Any] | None:
    """The value of an input if it is constant."""
    source = node.input_value(place).get_node()
    return source.data if kind(source) == "Constant" else None


def is_product(node: openvino.Node) -> bool:
    """Whether it multiplies an activation [..., k] with constant weights [n, k]."""
    return (
        kind(node) == "MatMul"
        and node.get_attributes() == {"transpose_a": False, "transpose_b": True}
        and constant(node, 1) is not None
    )


def turns(node: openvino.Node) -> bool:
    """Whether it is a transpose that swaps heads and tokens."""
    order = constant(node, 1) if kind(node) == "Transpose" else None
    return order is not None and tuple(order) == TURNED


def rank(value: openvino.Output) -> int:
    """How many dimensions a value has; -1 where that is not known."""
    known = value.get_partial_shape().rank
    return -1 if known.is_dynamic else int(known.get_length())


def reader(value: openvino.Output) -> openvino.Node | None:
    """The only node that reads a value, not counting those that read its shape; None if there are several or none."""
    nodes = [place.get_node() for place in value.get_target_inputs()]
    nodes = [node for node in nodes if kind(node) != "ShapeOf"]
    return nodes[0] if len(nodes) == 1 else None
