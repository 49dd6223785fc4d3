"""Graphs as OpenVINO computes them, for the tests of what changes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino

if TYPE_CHECKING:
    from numpy.typing import NDArray


def first_output(graph: openvino.Model, given: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a graph of one input makes of it, in float32."""
    config = {openvino.properties.hint.inference_precision(): openvino.Type.f32}
    return np.array(openvino.Core().compile_model(graph, "CPU", config)([given])[0])
