"""Attention's scale as part of the queries' weights: one rounding less in a short number format, and one pass less.

Scores are queries · keys × scale. Where queries are made by a product with constant weights, scaling those is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from openvino import opset13 as ops

from munjang.encoder.nodes import attentions, constant, kind

if TYPE_CHECKING:
    import openvino

QUERY, SCALE = 0, 4
"""Inputs of attention."""


def fold_scale(graph: openvino.Model) -> int:
    """Scale the queries' weights instead of the scores, in place, wherever that is the same; how often it was."""
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
    """The product and the sum that make the queries of constants, if nothing else reads the queries; else none."""
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
