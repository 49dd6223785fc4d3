"""Queries, keys and values become one product wherever that is the same, and stay as they are where it is not."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from munjang.encoder.openvino_runtime.passes import is_product, merge_projections
from tests.graphs import first_output

HEADS, SIZE = 2, 4
RANDOM = np.random.default_rng(5)
TEXT = RANDOM.standard_normal((3, 5, 6)).astype(np.float32)
BIAS = RANDOM.standard_normal(HEADS * SIZE).astype(np.float32)


def product(text):
    weights = RANDOM.standard_normal((HEADS * SIZE, 6)).astype(np.float32)
    return ops.matmul(text, ops.constant(weights), transpose_a=False, transpose_b=True)


def biased(text):
    return ops.add(product(text), ops.constant(BIAS))


def of_another_text(text):
    return biased(ops.tanh(text))


def with_a_changing_sum(text):
    return ops.add(product(text), ops.reduce_sum(text, ops.constant([2]), keep_dims=True))


def from_the_other_side(text):
    weights = ops.constant(RANDOM.standard_normal((6, HEADS * SIZE)).astype(np.float32))
    return ops.matmul(text, weights, transpose_a=False, transpose_b=False)


def attention(*made_by, order=(0, 2, 1, 3), view=(0, 0, HEADS, SIZE)):
    """A graph of attention whose queries, keys and values are made by these functions of its input."""
    text = ops.parameter([-1, -1, 6], np.float32)
    parts = []
    for make in made_by:
        heads = ops.reshape(make(text), ops.constant(np.array(view)), special_zero=True)
        parts.append(ops.transpose(heads, ops.constant(np.array(order))))
    return openvino.Model([ops.scaled_dot_product_attention(*parts)], [text])


def products(graph):
    return sum(is_product(node) for node in graph.get_ordered_ops())


@pytest.mark.parametrize("made_by", [[biased, biased, biased], [product] * 3, [biased, product, biased]])
def test_products_of_the_same_text_become_one(made_by):
    graph = attention(*made_by)
    before = first_output(graph, TEXT)

    assert merge_projections(graph) == 1
    assert products(graph) == 1
    np.testing.assert_allclose(first_output(graph, TEXT), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        attention(biased, of_another_text, of_another_text),
        attention(biased, with_a_changing_sum, biased),
        attention(biased, biased, from_the_other_side),
        attention(biased, biased, biased, order=(0, 1, 2, 3)),
        attention(biased, biased, biased, view=(3, 5, HEADS, SIZE)),
    ],
    ids=["another text", "a changing sum", "weights the other way", "another order", "a fixed shape"],
)
def test_what_is_made_in_another_way_stays(graph):
    before = first_output(graph, TEXT)

    assert merge_projections(graph) == 0
    np.testing.assert_array_equal(first_output(graph, TEXT), before)
