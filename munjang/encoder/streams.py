"""The forward of an exported model for whole lists: several frames at a time, each on a share of the processor.

Where all threads share a frame, each step of it takes as long as its slowest thread. Frames of their own wait for
nobody: a little faster on a processor that does nothing else, and much where other work takes turns on it.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from munjang.encoder.compiled import Step, in_streams
from munjang.encoder.frames import arrays, in_order
from munjang.encoder.layout import computed, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.compiled import Given
    from munjang.encoder.contract import Tokens
    from munjang.encoder.export import Export

PIECE = 1024
"""Tokens of a piece of a frame: of more, memory is the limit, and of fewer, what each step costs by itself."""


class StreamsForward:
    """Runs token ids through a compiled graph. One thread at a time, as `Encoder.forward` says.

    Args:
        export: the model.
        compute_type: the number format to compute in.
        threads: of all streams together; 0 leaves it to OpenVINO.
    """

    def __init__(self, export: Export, *, compute_type: str, threads: int) -> None:
        graph, self._streams = in_streams(export.graph, compute_type=compute_type, threads=threads)
        self._rules = export.rules
        self._steps = [Step(graph, export.file) for _ in range(2 * self._streams)]  # half of them wait for their turn

    parts = 1

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""
        return self._rules.packs

    def __call__(
        self,
        batch: Sequence[Tokens],
        pause: Callable[[], None] | None = None,  # noqa: ARG002 - it runs in one part
    ) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch; see `Encoder.forward`.

        Raises:
            MemoryError: there is not enough memory for this batch.
        """
        frames = lay_out([len(tokens) for tokens in batch], packs=self._rules.packs)
        pieces = [piece for frame in frames for piece in frame.split(self._parts_of(frame.tokens))]
        return in_order(pieces, self._run(arrays(piece, batch, self._rules) for piece in pieces))

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=self._rules.packs)

    def _parts_of(self, tokens: int) -> int:
        """Into how many pieces to cut a frame: as many for each stream."""
        return self._streams * -(-tokens // (self._streams * PIECE))

    def _run(self, pieces: Iterable[Given]) -> list[NDArray[np.float32]]:
        """The vectors of each piece, in their order."""
        found = []
        running: deque[Step] = deque()
        try:
            for number, piece in enumerate(pieces):
                if len(running) == len(self._steps):
                    found.append(running.popleft().finish())
                step = self._steps[number % len(self._steps)]
                step.start(piece)
                running.append(step)
            while running:
                found.append(running.popleft().finish())
        finally:
            for step in running:  # one failed: nobody else may still read what was given
                with suppress(MemoryError, RuntimeError):
                    step.finish()
        return found
