"""The scheduler's interface for services and metrics: work in, raw vectors out, and events for observers.

The service resolves the version, tokenises in its own threads and post-processes; in between it awaits `encode`.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from munjang.errors import MunjangError

_log = logging.getLogger(__name__)


class Lane(StrEnum):
    """Who waits for the answer: a person (what takes a moment), or a program (streams, and what takes long)."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Work:
    """One request, admitted or refused whole.

    Attributes:
        lease: on the version that will run it; the service holds it until `encode` returns.
        tokens: the tokenised texts, at least one, none of them empty.
        caller: the key of fairness: a token's name, or the peer's address.
        lane: the lane asked for; interactive work that is expected to take long goes to the bulk lane anyway.
        deadline: the `time.monotonic()` after which nobody wants the answer, or None.
    """

    lease: Lease
    tokens: Sequence[Tokens]
    caller: str = ""
    lane: Lane = Lane.INTERACTIVE
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """The answer to one `Work`.

    Attributes:
        rows: float32 [n, D], as the model gives them; zeros for a text with an error.
        errors: by index of the text, why it has no vector.
        queue_seconds: from admission to the start of the first forward.
        forward_seconds: the sum of the forwards that carried its texts.
        lane: the lane that it waited in.
    """

    rows: NDArray[np.float32]
    errors: Mapping[int, MunjangError]
    queue_seconds: float
    forward_seconds: float
    lane: Lane = Lane.INTERACTIVE


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the scheduler is now.

    Attributes:
        queued_tokens: tokens that wait, by lane.
        queued_texts: texts that wait, by lane.
        running_tokens: tokens of the forwards that run now.
        tokens_per_second: the measured speed of full batches; 0 before the first measurement.
        batch_tokens: the present token budget of a batch; below the setting for a while after memory ran out.
    """

    queued_tokens: Mapping[Lane, int]
    queued_texts: Mapping[Lane, int]
    running_tokens: int
    tokens_per_second: float
    batch_tokens: int


class OnHealth(Protocol):
    """Called on the event loop whenever the engine turns healthy or not."""

    def __call__(self, healthy: bool, reason: str, /) -> None:
        """`reason` says in words why, fit for a log; it is empty when healthy."""


class Encodes(Protocol):
    """Encodes work, on the event loop."""

    def check_hopeless(self, work: Work) -> None:
        """Refuse work before its texts are tokenised, if it would be refused were they as short as `work.tokens` are.

        Raises:
            Overloaded, DeadlineUnreachable, DeadlineExceeded, EngineUnavailable, ShuttingDown: as `encode` does.
        """

    async def encode(self, work: Work) -> Encoded:
        """Encode all texts of one request. Cancelling the coroutine takes its texts out of the queue.

        Raises:
            NoTexts, EmptyText: there is nothing to encode.
            Overloaded: the queue is full; `retry_after` says when there will be room.
            DeadlineUnreachable: the answer would come after the deadline; nothing was run.
            DeadlineExceeded: the deadline passed in the queue or during the forward.
            EngineUnavailable: the engine is stuck or failing.
            ShuttingDown: the server drains.
            InternalError: a defect of munjang; the log has the details.
        """


class SchedulerContract(Encodes, Protocol):
    """The scheduler. Its methods are for the event loop that called `start`; the properties may be read anywhere."""

    def start(self) -> None:
        """Start the runners and the watchdog, on the running event loop."""

    async def drain(self, seconds: float) -> None:
        """Refuse new work with ShuttingDown and return when the admitted work is answered, or after `seconds`."""

    def close(self) -> None:
        """Fail what is left with ShuttingDown and end all threads. May be called again."""

    @property
    def load(self) -> Load:
        """How busy the scheduler is now."""

    @property
    def healthy(self) -> bool:
        """Whether forwards succeed."""

    @property
    def ended(self) -> bool:
        """Whether no thread is left. False after `close` if a forward is stuck: then the process must exit hard."""


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One batch that has run.

    Attributes:
        version: the model version that ran it.
        lane: the lane that it was taken from.
        texts: how many.
        tokens: of the texts.
        computed_tokens: what the forward computed, padding included.
        oldest_seconds: how long the oldest of them had waited.
    """

    version: int
    lane: Lane
    texts: int
    tokens: int
    computed_tokens: int
    oldest_seconds: float


class Observer:
    """Receives every event and ignores it; override what you need.

    The methods are called on runner threads or the event loop, must be quick and thread-safe, and an exception from one
    is logged and not passed on.
    """

    def batch(self, seen: BatchSeen) -> None:
        """A batch has run."""

    def forward(self, version: int, lane: Lane, seconds: float, ok: bool) -> None:
        """A forward ended. `ok` is False if it raised."""

    def refused(self, reason: str, lane: Lane, texts: int) -> None:
        """A request was not admitted; `reason` is the error's reason, as in error_reason.proto."""

    def dropped(self, reason: str, lane: Lane, texts: int) -> None:
        """Admitted texts were not run: "expired", "cancelled", or the reason of the error that failed them."""

    def abandoned(self, version: int, tokens: int) -> None:
        """A forward ended or was cancelled that had carried tokens for callers who were gone by then."""

    def split(self, version: int) -> None:
        """A failed batch was split to find the text that fails it."""

    def failed(self, version: int, texts: int) -> None:
        """Texts fail the forward, or give rows that are not finite, even alone."""

    def out_of_memory(self, version: int, budget: int) -> None:
        """A forward ran out of memory; `budget` is the new budget in tokens."""

    def probe(self, version: int, seconds: float, ok: bool) -> None:
        """A probe forward ended."""

    def restarted(self) -> None:
        """A runner died or hit a defect, and was started again."""

    def health(self, healthy: bool) -> None:
        """The engine turned healthy or not."""


class GuardedObserver(Observer):
    """Passes every event to another observer, and logs what that raises."""

    def __init__(self, inner: Observer) -> None:
        for event in (name for name in vars(Observer) if not name.startswith("_")):
            setattr(self, event, _guarded(getattr(inner, event)))


def _guarded(tell: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(tell)
    def told(*arguments: object) -> None:
        try:
            tell(*arguments)
        except Exception:  # noqa: BLE001 - the observer is not ours, and the engine must go on
            _log.exception("an observer failed")

    return told
