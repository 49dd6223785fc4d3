"""What a handler knows of the call it serves: who calls, by when the answer is wanted, and what it notes.

Made by `gate`, which is the only way into a handler.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from munjang_server.security.limits import Limiter

Span = tuple[str, float, float]
"""A step of a call: its name, and its start and end by `time.perf_counter()`."""


class Permission(StrEnum):
    """What a token allows."""

    CALL = "call"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method: where it is, and who may call it."""

    service: str
    name: str
    permission: Permission = Permission.CALL

    @property
    def path(self) -> str:
        """As gRPC writes it: service/method."""
        return f"{self.service}/{self.name}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key of fairness, and the limits of a token's rate, if it has any."""

    name: str
    limiter: Limiter | None = None

    def charge(self, *, texts: int = 0, tokens: int = 0) -> None:
        """Count work against the caller's rate.

        Raises:
            RateLimited: the rate is used up; `retry_after` says until when.
        """
        if self.limiter is not None:
            self.limiter.charge(texts=texts, tokens=tokens)


NOBODY = Caller("")


@dataclass(slots=True)
class Call:
    """One call, or one message of a stream.

    Attributes:
        rpc: the method.
        context: gRPC's own context, for streams to read and write.
        request_id: as the caller named the call, or made here.
        deadline: the `time.monotonic()` by which the answer is wanted; every call has one.
        started: `time.perf_counter()` at its start.
        authorization: what the caller shows of itself.
        caller: who calls, as soon as that is known.
        traceparent: the caller's trace, or empty.
        spans: its steps; None where nobody traces.
        version: the version that answered, 0 before it is known.
        texts: how many texts it brought.
    """

    rpc: Rpc
    context: Any
    request_id: str
    deadline: float
    started: float
    authorization: str = field(default="", repr=False)
    caller: Caller = NOBODY
    traceparent: str = ""
    spans: list[Span] | None = None
    version: int = 0
    texts: int = 0

    def message(self, deadline: float, started: float) -> Call:
        """One message of this stream, with its own records."""
        spans: list[Span] | None = None if self.spans is None else []
        return replace(self, deadline=deadline, started=started, spans=spans, version=0, texts=0)

    def note(self, step: str, start: float, end: float) -> None:
        """Remember a step, for the trace."""
        if self.spans is not None:
            self.spans.append((step, start, end))
