"""The forward of an exported model by OpenVINO on a CPU: faster than torch there, with the same vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino
import openvino.properties as props
import openvino.properties.hint as hints

from munjang.encoder.frames import in_frames
from munjang.encoder.layout import computed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.encoder.rules import Rules

FORMATS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16, "float16": openvino.Type.f16}
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}


class OpenVinoForward:
    """Runs token ids through a compiled graph. One thread at a time, as `Encoder.forward` says."""

    def __init__(self, graph: openvino.Model, rules: Rules, *, compute_type: str, threads: int) -> None:
        config = {
            hints.inference_precision(): FORMATS[_between_products(compute_type)],
            hints.performance_mode(): hints.PerformanceMode.LATENCY,
            hints.enable_cpu_pinning(): False,
        }
        if threads:
            config[props.inference_num_threads()] = threads
        self._request = openvino.Core().compile_model(graph, "CPU", config).create_infer_request()
        self._rules = rules

    def __call__(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch.

        Raises:
            MemoryError: there is not enough memory for this batch.
        """
        return in_frames(batch, self._rules, self._run)

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=self._rules.packs)

    def _run(self, given: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        try:
            self._request.infer(given, share_inputs=True)
        except RuntimeError as error:
            if "bad_alloc" in str(error) or "allocate" in str(error):
                raise MemoryError(*error.args) from error
            raise
        return np.array(self._request.get_output_tensor(0).data, np.float32)


def supported(compute_type: str) -> bool:
    """Whether this processor computes in that format by itself."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return CAPABILITIES[compute_type] in capabilities


def _between_products(compute_type: str) -> str:
    """The format of what is not in int8 where the graph's products are."""
    if compute_type != "int8":
        return compute_type
    return "bfloat16" if supported("bfloat16") else "float32"
