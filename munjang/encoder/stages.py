"""A graph cut between layers into stages, so that a long forward can pause and let short ones go first.

Where a graph may be cut is read off the attention of its layers: what their queries, keys and values are all made of is
the whole state between two layers. A graph of another build is not cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import openvino
from openvino import opset13 as ops

from munjang.encoder.nodes import attentions, kind

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = 6
"""Stages of a graph that has as many layers: a text of 512 tokens then pauses every 10 to 15 ms on two cores."""

STATE = "state"
"""The input of a stage that the stage before it gives."""


def stages(graph: openvino.Model) -> list[openvino.Model]:
    """The graph's stages in order: each takes the graph's inputs that it needs, and `state`; none if it is not cut."""
    states = _states(graph)
    parts = min(PARTS, len(states))
    if parts <= 1:
        return []
    cuts = [states[number * len(states) // parts] for number in range(1, parts)]
    try:
        return [_between(graph, begin, end) for begin, end in zip([None, *cuts], [*cuts, None], strict=True)]
    except RuntimeError:  # a stage needs more of what came before it than the state
        return []


def _states(graph: openvino.Model) -> list[str]:
    """The names of the nodes that give the state before each layer, in order; none where that is not clear."""
    found: list[str | None] = []
    for attention in attentions(graph):
        sources = {_source(attention.input_value(place)) for place in range(3)}
        if len(sources) != 1 or None in sources:
            return []
        found += sources
    return [name for name in found if name is not None]


def _source(value: openvino.Output) -> str | None:
    """What a query, key or value is the product of; None where it is not one."""
    node = value.get_node()
    while kind(node) in {"Add", "Reshape", "Split", "Squeeze", "Transpose"}:
        node = node.input_value(0).get_node()
    if kind(node) != "MatMul":
        return None
    source = node.input_value(0).get_node()
    if kind(source) == "FakeQuantize":  # int8 rounds the state for the products alone
        source = source.input_value(0).get_node()
    name: str = source.get_friendly_name()
    return name


def _between(graph: openvino.Model, begin: str | None, end: str | None) -> openvino.Model:
    """From the state that one node gives to that of another; None is the graph's own beginning or end."""
    copy = graph.clone()
    nodes = {node.get_friendly_name(): node for node in copy.get_ordered_ops()}
    given = list(copy.get_parameters())
    if begin is not None:
        whole = nodes[begin].output(0)
        state = ops.parameter(whole.get_partial_shape(), whole.get_element_type(), name=STATE)
        state.output(0).set_names({STATE})
        for target in list(whole.get_target_inputs()):
            target.replace_source_output(state.output(0))
        given.append(state)
    wanted = copy.outputs[0].get_node().input_value(0) if end is None else nodes[end].output(0)
    result = ops.result(wanted)
    needed = _needed(result)
    return openvino.Model([result], [node for node in given if node.get_friendly_name() in needed])


def _needed(result: openvino.Node) -> set[str]:
    """The names of all nodes that a result is made of."""
    found: set[str] = set()
    left: list[openvino.Node] = [result]
    while left:
        node = left.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            left += [value.get_node() for value in _inputs(node)]
    return found


def _inputs(node: openvino.Node) -> Sequence[openvino.Output]:
    return [node.input_value(place) for place in range(node.get_input_size())]
