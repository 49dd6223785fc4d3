"""Graphs compiled by OpenVINO for this processor, and how one is run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import openvino.properties as props
import openvino.properties.hint as hints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from munjang.encoder.mapped import Mapped

FORMATS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16, "float16": openvino.Type.f16}
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}

Given = Mapping[str, "NDArray[np.int64] | NDArray[np.float32]"]
"""Inputs by name."""


def compiled(
    graph: openvino.Model,
    *,
    compute_type: str,
    threads: int,
    mode: hints.PerformanceMode = hints.PerformanceMode.LATENCY,
) -> openvino.CompiledModel:
    """A graph that computes in a number format, with so many threads; 0 leaves that to OpenVINO."""
    config = {
        hints.inference_precision(): FORMATS[_between_products(compute_type)],
        hints.performance_mode(): mode,
        hints.enable_cpu_pinning(): False,
    }
    if threads:
        config[props.inference_num_threads()] = threads
    return openvino.Core().compile_model(graph, "CPU", config)


def in_streams(graph: openvino.Model, *, compute_type: str, threads: int) -> tuple[openvino.CompiledModel, int]:
    """A graph whose forwards run beside each other, each on a share of the threads; and how many can at a time."""
    found = compiled(graph, compute_type=compute_type, threads=threads, mode=hints.PerformanceMode.THROUGHPUT)
    return found, int(found.get_property(props.optimal_number_of_infer_requests()))


class Step:
    """A compiled graph that is run on its own inputs among those given.

    Args:
        graph: the compiled graph.
        file: where its weights were read from, if that is a file, which must outlive it.
    """

    def __init__(self, graph: openvino.CompiledModel, file: Mapped | None) -> None:
        self._request = graph.create_infer_request()
        self._names = set[str]().union(*(place.get_names() for place in graph.inputs))
        self._file = file
        self._shapes: set[tuple[int, ...]] = set()
        self._given: Given = {}  # held while it runs, for its memory is read in place

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width of the frame that ran last; another of the same shape takes less time. 0 and 0 before any."""
        return self._given["input_ids"].shape if self._given else (0, 0)

    def __call__(self, given: Given) -> NDArray[np.float32]:
        """Its first output, in memory of its own.

        Raises:
            MemoryError: there is not enough memory for it.
        """
        with _memory_errors():
            self._request.infer(self._own(given), share_inputs=True)
        return self._found()

    def start(self, given: Given) -> None:
        """Run it beside others; `finish` is to be called before anything else."""
        with _memory_errors():
            self._request.start_async(self._own(given), share_inputs=True)

    def finish(self) -> NDArray[np.float32]:
        """Wait for what was started, and give what `__call__` gives.

        Raises:
            MemoryError: there is not enough memory for it.
        """
        with _memory_errors():
            self._request.wait()
        return self._found()

    def _own(self, given: Given) -> dict[str, NDArray[Any]]:
        self._given = given
        return {name: array for name, array in given.items() if name in self._names}

    def _found(self) -> NDArray[np.float32]:
        if self.shape not in self._shapes:
            self._shapes.add(self.shape)
            if self._file is not None:
                self._file.let_go()
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


@contextmanager
def _memory_errors() -> Iterator[None]:
    """What OpenVINO says of memory, as the error that it is."""
    try:
        yield
    except RuntimeError as error:
        if "bad_alloc" in str(error) or "allocate" in str(error):
            raise MemoryError(*error.args) from error
        raise
