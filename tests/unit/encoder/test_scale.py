"""Attention's scale moves into the queries' weights wherever that is the same, and stays where it is not."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from munjang.encoder.openvino_runtime.passes import attentions, fold_scale
from tests.graphs import first_output

SCALE = 0.37
RANDOM = np.random.default_rng(3)
KEYS, WEIGHTS, BIAS = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((1, 5, 8), (8, 8), (8,)))
TEXT = RANDOM.standard_normal((1, 5, 8)).astype(np.float32)


def attention(queries_of):
    """A graph of attention whose queries are what `queries_of` makes of its input."""
    text = ops.parameter([1, 5, 8], np.float32)
    queries, *more = queries_of(text)
    keys = ops.constant(KEYS)
    mask = ops.constant(np.zeros((1, 5, 5), np.float32))
    out = ops.scaled_dot_product_attention(queries, keys, keys, mask, ops.constant(np.float32(SCALE)))
    return openvino.Model([out, *more], [text])


def product(text):
    return ops.matmul(text, ops.constant(WEIGHTS), transpose_a=False, transpose_b=True)


def biased(text):
    return [ops.add(product(text), ops.constant(BIAS))]


def moved(text):
    queries = ops.reshape(biased(text)[0], ops.constant([5, 1, 8]), special_zero=False)
    return [ops.transpose(queries, ops.constant([1, 0, 2]))]


def read_elsewhere(text):
    [queries] = biased(text)
    return queries, queries


def behind_a_function(text):
    return [ops.tanh(product(text))]


def with_a_changing_sum(text):
    return [ops.add(product(text), text)]


@pytest.mark.parametrize("queries_of", [lambda text: [product(text)], biased, moved])
def test_queries_of_constant_weights_are_scaled_by_them(queries_of):
    graph = attention(queries_of)
    before = first_output(graph, TEXT)

    assert fold_scale(graph) == 1
    assert [float(node.input_value(4).get_node().data) for node in attentions(graph)] == [1.0]
    np.testing.assert_allclose(first_output(graph, TEXT), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("queries_of", [read_elsewhere, behind_a_function, with_a_changing_sum])
def test_where_it_would_not_be_the_same_the_scale_stays(queries_of):
    graph = attention(queries_of)
    before = first_output(graph, TEXT)

    assert fold_scale(graph) == 0
    np.testing.assert_array_equal(first_output(graph, TEXT), before)
