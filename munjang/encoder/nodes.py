"""How the nodes of a traced graph are read: what attends, what is constant, who reads a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino
    from numpy.typing import NDArray

TURNED = (0, 2, 1, 3)
"""The order of a transpose from [rows, tokens, heads, d] to [rows, heads, tokens, d], and back."""


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
    """Whether it is a transpose that lets heads and tokens change places."""
    order = constant(node, 1) if kind(node) == "Transpose" else None
    return order is not None and tuple(order) == TURNED


def rank(value: openvino.Output) -> int:
    """How many dimensions a value has; -1 where that is not known."""
    known = value.get_partial_shape().rank
    return -1 if known.is_dynamic else int(known.get_length())


def reader(value: openvino.Output) -> openvino.Node | None:
    """The one node that reads a value, leaving out those that ask for its shape; None if there are several or none."""
    nodes = [place.get_node() for place in value.get_target_inputs()]
    nodes = [node for node in nodes if kind(node) != "ShapeOf"]
    return nodes[0] if len(nodes) == 1 else None
