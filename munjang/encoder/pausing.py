"""The forward of an exported model for callers who wait: a text has all threads, and a long forward can pause."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.compiled import Step, compiled
from munjang.encoder.contract import Tokens
from munjang.encoder.frames import in_frames
from munjang.encoder.layout import SHORT, computed
from munjang.encoder.stages import STATE, stages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import openvino
    from numpy.typing import NDArray

    from munjang.encoder.compiled import Given
    from munjang.encoder.export import Export


class PausingForward:
    """Runs token ids through a compiled graph. One thread at a time, as `Encoder.forward` says.

    Args:
        export: the model.
        compute_type: the number format to compute in.
        threads: of a forward; 0 leaves it to OpenVINO.
    """

    def __init__(self, export: Export, *, compute_type: str, threads: int) -> None:
        def step(graph: openvino.Model) -> Step:
            return Step(compiled(graph, compute_type=compute_type, threads=threads), export.file)

        self._rules = export.rules
        self._whole = step(export.graph)
        self._stages = [step(stage) for stage in stages(export.graph)]
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
        return in_frames(batch, self._rules, run, kept=self._kept)

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=self._rules.packs, kept=self._kept)

    @property
    def _kept(self) -> int:
        """The width of the row that ran last, if it was one: so wide may the next lone text be at less cost."""
        rows, width = self._whole.shape
        return width if rows == 1 else 0

    def _in_stages(self, given: Given, pause: Callable[[], None]) -> NDArray[np.float32]:
        """One frame, with a pause before each stage; a short one is run whole."""
        short = given["input_ids"].size <= SHORT
        state: NDArray[np.float32] | None = None
        for step in [self._whole] if short or not self._stages else self._stages:
            pause()
            state = step(given if state is None else {**given, STATE: state})
        if state is None:
            raise AssertionError
        return state

    def _agree(self) -> bool:
        """Whether the stages together give what the whole graph gives."""
        batch = [Tokens((5,) * min(2 * SHORT, self._rules.max_tokens))]
        whole, staged = self(batch), self(batch, lambda: None)
        return np.allclose(whole, staged, rtol=0.01, atol=0.01 * float(np.abs(whole).max()))


def _from_the_second_time(call: Callable[[], None]) -> Callable[[], None]:
    """The same, but for the first time: nothing has run yet that could pause."""
    begun = False

    def called() -> None:
        nonlocal begun
        if begun:
            call()
        begun = True

    return called
