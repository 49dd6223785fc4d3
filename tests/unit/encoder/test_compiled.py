"""A compiled graph is run on those of a frame's inputs that it has, whichever they are."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as ops

from munjang.encoder.openvino_runtime.compiled import CompiledRequest, compile_graph

GIVEN = {"input_ids": np.ones((2, 4), np.int64), "state": np.full((2, 4), 3.0, np.float32)}


def doubling():
    """A graph that reads one input of several."""
    state = ops.parameter([-1, -1], np.float32, name="state")
    state.output(0).set_names({"state"})
    graph = openvino.Model([ops.add(state, state)], [state])
    return CompiledRequest(compile_graph(graph, compute_type="float32", threads=1), None)


def test_a_graph_needs_not_read_all_that_is_given():
    assert np.array_equal(doubling().run(GIVEN), 2 * GIVEN["state"])


def test_what_was_started_gives_the_same():
    request = doubling()
    request.start(dict(GIVEN))

    assert np.array_equal(request.wait(), 2 * GIVEN["state"])
