"""The heads of attention put side by side by a constant shape, since a graph that computes no shape runs without stops.

Tracing writes how the heads' values are joined as a shape that is computed, in each layer. For such a shape OpenVINO
waits before it prepares what follows, whenever a frame is of another size than the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from openvino import opset13 as ops

from munjang.encoder.nodes import attentions, constant, kind, rank, reader, turns

if TYPE_CHECKING:
    import openvino


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
    """The transpose that brings the heads of a token together; tracing may write a reshape to the same shape first."""
    node = reader(values)
    if node is not None and _computes(node, 4):
        node = reader(node.output(0))
    return node if node is not None and turns(node) else None


def _computes(node: openvino.Node, dimensions: int) -> bool:
    """Whether it gives its input another shape, of so many dimensions, that is computed."""
    return kind(node) == "Reshape" and constant(node, 1) is None and rank(node.output(0)) == dimensions
