"""Heads are joined by a constant shape wherever that is what is done, and what is done in another way stays."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from munjang.encoder.openvino_runtime.passes import join_heads
from tests.graphs import first_output

HEADS, SIZE = 2, 4
RANDOM = np.random.default_rng(5)
TURNED = RANDOM.standard_normal((3, HEADS, 5, SIZE)).astype(np.float32)


def part_of_shape(value, *places):
    return ops.gather(ops.shape_of(value), ops.constant(list(places)), ops.constant(0))


def the_same_again(found, text):
    """The reshape that tracing writes before the transpose."""
    shape = [part_of_shape(found, 0), ops.constant([-1]), part_of_shape(text, 2), ops.constant([SIZE])]
    return ops.reshape(found, ops.concat(shape, 0), special_zero=False)


def joined(turned, text):
    shape = [part_of_shape(text, 0), part_of_shape(text, 2), ops.constant([-1])]
    return ops.reshape(turned, ops.concat(shape, 0), special_zero=False)


def flattened(turned, text):
    return ops.reshape(turned, ops.concat([part_of_shape(text, 0), ops.constant([-1])], 0), special_zero=False)


def attention(*, before=lambda found, _: found, order=(0, 2, 1, 3), after=joined, heads=HEADS):
    """A graph of attention among its own input, and what is done to it then."""
    text = ops.parameter([-1, heads, -1, SIZE], np.float32)
    found = before(ops.scaled_dot_product_attention(text, text, text), text)
    turned = ops.transpose(found, ops.constant(np.array(order)))
    return openvino.Model([after(turned, text)], [text])


def computed_shapes(graph):
    return sum(node.get_type_name() == "ShapeOf" for node in graph.get_ordered_ops())


@pytest.mark.parametrize("before", [the_same_again, lambda found, _: found], ids=["reshaped before", "as it is"])
def test_heads_are_joined_by_a_constant_shape(before):
    graph = attention(before=before)
    expected = first_output(graph, TURNED)

    assert join_heads(graph) == 1
    assert computed_shapes(graph) == 0
    np.testing.assert_array_equal(first_output(graph, TURNED), expected)


@pytest.mark.parametrize(
    "graph",
    [attention(order=(0, 1, 2, 3)), attention(after=flattened), attention(heads=-1)],
    ids=["another order", "another shape", "an unknown number of heads"],
)
def test_what_is_done_in_another_way_stays(graph):
    expected = first_output(graph, TURNED)

    assert join_heads(graph) == 0
    np.testing.assert_array_equal(first_output(graph, TURNED), expected)


def test_attention_of_one_head_stays():
    text = ops.parameter([-1, -1, SIZE], np.float32)
    found = ops.scaled_dot_product_attention(text, text, text)
    turned = ops.transpose(found, ops.constant(np.array([1, 0, 2])))
    graph = openvino.Model([turned], [text])

    assert join_heads(graph) == 0
