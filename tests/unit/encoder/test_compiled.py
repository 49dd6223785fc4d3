"""A compiled graph is run on those of a frame's inputs that it has, whichever they are."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as ops

from munjang.encoder.compiled import Step, compiled

GIVEN = {"input_ids": np.ones((2, 4), np.int64), "state": np.full((2, 4), 3.0, np.float32)}


def doubling():
    """A stage that needs nothing but the state before it."""
    state = ops.parameter([-1, -1], np.float32, name="state")
    state.output(0).set_names({"state"})
    graph = openvino.Model([ops.add(state, state)], [state])
    return Step(compiled(graph, compute_type="float32", threads=1), None)


def test_a_stage_needs_no_token_ids():
    assert np.array_equal(doubling()(GIVEN), 2 * GIVEN["state"])


def test_what_was_started_beside_others_gives_the_same():
    step = doubling()
    step.start(dict(GIVEN))

    assert np.array_equal(step.finish(), 2 * GIVEN["state"])
