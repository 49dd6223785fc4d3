"""The forward of an exported model by OpenVINO on a CPU: faster than torch there, with the same vectors."""

from __future__ import annotations

import mmap
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import openvino
import openvino.properties as props
import openvino.properties.hint as hints

from munjang.encoder.contract import Tokens
from munjang.encoder.frames import in_frames
from munjang.encoder.layout import SHORT, computed
from munjang.encoder.stages import STATE, stages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.export import Export

FORMATS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16, "float16": openvino.Type.f16}
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}

Given = dict[str, "NDArray[np.int64] | NDArray[np.float32]"]
"""Inputs by name."""


class OpenVinoForward:
    """Runs token ids through a compiled graph. One thread at a time, as `Encoder.forward` says.

    Args:
        export: the model.
        compute_type: the number format to compute in.
        threads: of a forward; 0 leaves it to OpenVINO.
        pauses: whether long forwards shall be able to pause.
    """

    def __init__(self, export: Export, *, compute_type: str, threads: int, pauses: bool = False) -> None:
        config = {
            hints.inference_precision(): FORMATS[_between_products(compute_type)],
            hints.performance_mode(): hints.PerformanceMode.LATENCY,
            hints.enable_cpu_pinning(): False,
        }
        if threads:
            config[props.inference_num_threads()] = threads
        core = openvino.Core()
        self._rules = export.rules
        cut = stages(export.graph) if pauses else []
        self._whole = Step(core.compile_model(export.graph, "CPU", config), export.file)
        self._stages = [Step(core.compile_model(stage, "CPU", config), export.file) for stage in cut]
        if self._stages and not self._agree():
            self._stages = []

    @property
    def parts(self) -> int:
        """See `Encoder.parts`."""
        return max(1, len(self._stages))

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""
        return self._rules.packs

    def __call__(self, batch: Sequence[Tokens], pause: Callable[[], None] | None = None) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch; see `Encoder.forward`.

        Raises:
            MemoryError: there is not enough memory for this batch.
        """
        run = self._whole if pause is None else partial(self._in_stages, pause=_from_the_second_time(pause))
        return in_frames(batch, self._rules, run)

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=self._rules.packs)

    def _in_stages(self, given: Given, pause: Callable[[], None]) -> NDArray[np.float32]:
        """One frame, with a pause before each stage; a short one is run whole."""
        short = given["input_ids"].size <= SHORT
        state: NDArray[np.float32] | None = None
        for step in [self._whole] if short or not self._stages else self._stages:
            pause()
            state = step(given if state is None else given | {STATE: state})
        if state is None:
            raise AssertionError
        return state

    def _agree(self) -> bool:
        """Whether the stages together give what the whole graph gives."""
        batch = [Tokens((5,) * min(2 * SHORT, self._rules.max_tokens))]
        whole, staged = self(batch), self(batch, lambda: None)
        return np.allclose(whole, staged, rtol=0.01, atol=0.01 * float(np.abs(whole).max()))


class Step:
    """A compiled graph that is run on its own inputs among those given.

    Args:
        compiled: the graph.
        file: the mapped file that its weights were read from, if any, which must outlive it.
    """

    def __init__(self, compiled: openvino.CompiledModel, file: mmap.mmap | None) -> None:
        self._request = compiled.create_infer_request()
        self._names = set[str]().union(*(place.get_names() for place in compiled.inputs))
        self._file = file
        self._shapes: set[tuple[int, ...]] = set()

    def __call__(self, given: Given) -> NDArray[np.float32]:
        """Its first output, in memory of its own.

        Raises:
            MemoryError: there is not enough memory for it.
        """
        own = {name: array for name, array in given.items() if name in self._names}
        try:
            self._request.infer(own, share_inputs=True)
        except RuntimeError as error:
            if "bad_alloc" in str(error) or "allocate" in str(error):
                raise MemoryError(*error.args) from error
            raise
        if (shape := given["input_ids"].shape) not in self._shapes:
            self._shapes.add(shape)
            self._let_go()
        return np.array(self._request.get_output_tensor(0).data, np.float32)

    def _let_go(self) -> None:
        """Let the system have the file's pages: for a new shape all weights are read, then kept in a form of their own.

        What is looked up in the file later is read again.
        """
        if self._file is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._file.madvise(mmap.MADV_DONTNEED)


def supported(compute_type: str) -> bool:
    """Whether this processor computes in that format by itself."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return CAPABILITIES[compute_type] in capabilities


def _between_products(compute_type: str) -> str:
    """The format of what is not in int8 where the graph's products are."""
    if compute_type != "int8":
        return compute_type
    return "bfloat16" if supported("bfloat16") else "float32"


def _from_the_second_time(call: Callable[[], None]) -> Callable[[], None]:
    """The same, but for the first time: nothing has run yet that could pause."""
    begun = False

    def called() -> None:
        nonlocal begun
        if begun:
            call()
        begun = True

    return called
