"""The forward of an exported model beside others: each has a stream, which is a share of the processor.

Where all threads share a forward, each of its steps takes as long as its slowest thread, and the event loop, other
programs and other machines take turns on the processor all the time. Forwards of their own wait for nobody.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING

from munjang.encoder.compiled import Step, in_streams
from munjang.encoder.frames import in_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.encoder.export import Export


class SharingForward:
    """Runs token ids through a compiled graph, from as many threads at a time as there are streams; others wait.

    Args:
        export: the model.
        compute_type: the number format to compute in.
        threads: of all streams together; 0 leaves it to OpenVINO.
    """

    def __init__(self, export: Export, *, compute_type: str, threads: int) -> None:
        graph, self.streams = in_streams(export.graph, compute_type=compute_type, threads=threads)
        self._rules = export.rules
        self._free: SimpleQueue[Step] = SimpleQueue()
        for _ in range(self.streams):
            self._free.put(Step(graph, export.file))

    def __call__(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch; see `Encoder.forward`.

        Raises:
            MemoryError: there is not enough memory for this batch.
        """
        step = self._free.get()
        try:
            return in_frames(batch, self._rules, step)
        finally:
            self._free.put(step)
