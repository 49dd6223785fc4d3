"""The server without one mechanism: `python -m tests.bench.builds.without NAME`. What each buys is seen by its absence.

Each entry takes one mechanism out of the running program and leaves the rest as it is.
"""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

from munjang.encoder.sequence_packing import Frame, round_up
from munjang_server.scheduling import fair_queue, latency_model, request_queue
from munjang_server.scheduling.admission import Admission
from munjang_server.scheduling.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.scheduling.api import Lane
    from munjang_server.scheduling.request import Request


def streams() -> None:
    """No forwards beside each other: one at a time has all threads."""
    from munjang.encoder.openvino_runtime import compiled  # noqa: PLC0415 - an optional library

    def one(*_: object) -> tuple[None, int]:
        return None, 1

    compiled._in_streams = one  # type: ignore[assignment]


def all_threads() -> None:
    """No forward with all threads: a lone call has one stream, too."""
    share = request_queue.Lanes._share
    request_queue.Lanes._share = lambda self, lane, now, running: (  # type: ignore[method-assign]
        self.lanes[lane].streams if share(self, lane, now, running) else 0
    )


def free_stream() -> None:
    """No stream is left to calls: bulk takes all of them."""

    def never(*_: object) -> bool:
        return False

    latency_model.BatchLimits.interactive_expected = never  # type: ignore[method-assign]


def lanes_by_cost() -> None:
    """What takes long is bulk only where the caller says so."""

    def asked(_: Admission, request: Request) -> Lane:
        return request.lane

    Admission.lane = asked  # type: ignore[method-assign]


def hopeless_check() -> None:
    """Lists that cannot be answered in time are tokenised before they are refused."""

    def nothing(*_: object) -> None:
        return None

    Scheduler.check_hopeless = nothing  # type: ignore[method-assign]


def admission_by_time() -> None:
    """Whatever there is room for waits, whether or not it can be answered in time."""

    def nothing(*_: object) -> None:
        return None

    Admission._check_time = nothing  # type: ignore[method-assign]


def even_shares() -> None:
    """A batch on a stream takes what fits, and not an even part of what waits."""
    fair_queue.ENOUGH = 1 << 30


def packing() -> None:
    """Every text has a row of its own, as wide as the longest of its batch."""
    from munjang.encoder import model_inputs  # noqa: PLC0415 - read when it is patched

    def rows(lengths: list[int], *, packs: bool, start: int = 0) -> tuple[Frame, ...]:
        return (Frame(round_up(max(lengths)), tuple((text,) for text in range(len(lengths)))),)

    model_inputs.lay_out = rows  # type: ignore[assignment]


MECHANISMS: dict[str, Callable[[], None]] = {
    mechanism.__name__: mechanism
    for mechanism in (
        streams, all_threads, free_stream, lanes_by_cost, hopeless_check, admission_by_time, even_shares, packing
    )
}  # fmt: skip

if __name__ == "__main__":
    MECHANISMS[sys.argv.pop(1)]()
    runpy.run_module("munjang_server", run_name="__main__", alter_sys=True)
