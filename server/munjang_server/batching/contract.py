"""What the servicers see of the batcher: work in, raw vectors out. How batches are formed and run is left to others.

The servicer resolves the version, tokenises in its own threads and post-processes; between the two it awaits `encode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from munjang.errors import MunjangError


class Lane(StrEnum):
    """Who waits for the answer: a person (small calls), or a program that sends much (streams, large batches)."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Work:
    """One request, admitted or refused whole.

    Attributes:
        lease: on the version that shall run it; the servicer holds it until `encode` returns.
        tokens: the tokenised texts, at least one, none of them empty.
        caller: the key of fairness: a token's name, or the peer's address.
        lane: which lane it waits in.
        deadline: the `time.monotonic()` after which nobody wants the answer, or None.
        trial: whether it is let in though it is held too slow, as `foresee` said.
    """

    lease: Lease
    tokens: Sequence[Tokens]
    caller: str = ""
    lane: Lane = Lane.INTERACTIVE
    deadline: float | None = None
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """The answer to one `Work`.

    Attributes:
        rows: float32 [n, D], as the model gives them; zeros where an error stands.
        errors: by index of the text, why it has no vector.
        queue_seconds: from admission to the start of the first forward.
        forward_seconds: the sum of the forwards that carried its texts.
    """

    rows: NDArray[np.float32]
    errors: Mapping[int, MunjangError]
    queue_seconds: float
    forward_seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the batcher is now.

    Attributes:
        queued_tokens: tokens that wait, by lane.
        queued_texts: texts that wait, by lane.
        running_tokens: tokens of the forwards that run now.
        tokens_per_second: the measured speed of full batches; 0 before the first measurement.
        batch_tokens: the present budget of a batch; under the setting for a while after memory ran out.
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

    def foresee(self, work: Work) -> bool:
        """Refuse work before its texts are tokenised, if it would be refused were they as short as `work.tokens` are.

        Returns whether it is to be a trial.

        Raises:
            Overloaded, DeadlineUnreachable, DeadlineExceeded, EngineUnavailable, ShuttingDown: as `encode` does.
        """

    async def encode(self, work: Work) -> Encoded:
        """Encode all texts of one request. Cancelling the coroutine takes its texts out of the queue.

        Raises:
            Overloaded: the queue is full; `retry_after` says when there will be room.
            DeadlineUnreachable: the answer would come after the deadline; nothing was run.
            DeadlineExceeded: the deadline passed in the queue or during the forward.
            EngineUnavailable: the engine is stuck or failing.
            ShuttingDown: the server drains.
            InternalError: a defect of munjang; the log has the details.
        """


class BatcherContract(Encodes, Protocol):
    """The batcher. All methods are for the event loop that called `start`; the properties may be read anywhere."""

    def start(self) -> None:
        """Start the engine and the watchdog, on the running event loop."""

    async def drain(self, seconds: float) -> None:
        """Refuse new work with ShuttingDown and return when the admitted work is answered, or after `seconds`."""

    def close(self) -> None:
        """Fail what is left with ShuttingDown and end all threads. May be called again."""

    @property
    def load(self) -> Load:
        """How busy the batcher is now."""

    @property
    def healthy(self) -> bool:
        """Whether forwards succeed."""

    @property
    def ended(self) -> bool:
        """Whether no thread is left. False after `close` where a forward is stuck: then the process must exit hard."""
