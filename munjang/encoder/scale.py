"""Attention's scale as part of the queries' weights: one rounding less in a short number format, and one pass less.

Scores are queries · keys × scale. Where queries are made by a product with constant weights, scaling those is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from openvino import opset13 as ops

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

ATTENTION = "ScaledDotProductAttention"
QUERY, SCALE = 0, 4
"""Its inputs."""


def fold_scale(graph: openvino.Model) -> int:
    """Scale the queries' weights instead of the scores, in place, wherever that is the same; how often it was."""
    folded = 0
    for attention in graph.get_ordered_ops():
        if attention.get_type_name() != ATTENTION or attention.get_input_size() <= SCALE:
            continue
        scale = _constant(attention, SCALE)
        weights = _weights(attention.input_value(QUERY))
        if scale is None or not weights:
            continue
        for node in weights:
            node.input(1).replace_source_output(ops.constant(scale * node.input_value(1).get_node().data).output(0))
        attention.input(SCALE).replace_source_output(ops.constant(np.ones_like(scale)).output(0))
        folded += 1
    return folded


def _weights(queries: openvino.Output) -> list[openvino.Node]:
    """The product and the sum that make the queries of constants, if nothing else reads the queries; else none."""
    found: list[openvino.Node] = []
    while len(queries.get_target_inputs()) == 1:
        node = queries.get_node()
        match node.get_type_name():
            case "Transpose" | "Reshape":
                pass
            case "Add" if _constant(node, 1) is not None and not found:
                found.append(node)
            case "MatMul" if _constant(node, 1) is not None:
                return [*found, node]
            case _:
                return []
        queries = node.input_value(0)
    return []


def _constant(node: openvino.Node, place: int) -> NDArray[np.float32] | None:
    """The value of an input if it is constant."""
    source = node.input_value(place).get_node()
    return source.data if source.get_type_name() == "Constant" else None
