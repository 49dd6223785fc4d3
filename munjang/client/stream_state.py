"""The state of one stream, without its I/O: what to send next, which answers are ready, what to retry.

Batches stay here until they are answered, so after a broken stream is reopened only the unanswered ones are sent
again. At most `window` batches are here at once; their answers come out in the order of the source. All are pinned to
the version of the first answer, so a stream never mixes versions.

Not thread-safe: `SyncStream` guards it with a lock, `AsyncStream` keeps it on one event loop.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from munjang.client import requests
from munjang.client.grpc_errors import from_status
from munjang.client.results import StreamBatch, read_embeddings
from munjang.client.retry import Attempts
from munjang.errors import DeadlineExceeded, MunjangError, ServerUnreachable
from munjang.v1 import embedding_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from munjang.client.retry import RetryPolicy


@dataclass
class _Pending:
    """A batch: `due` is when it may be sent, None while it waits for its answer."""

    id: Any
    part: requests.Part
    attempts: Attempts
    due: float | None


class StreamState:
    """Batches between the caller's source and the caller's loop."""

    def __init__(self, options: requests.Options, window: int, policy: RetryPolicy, timeout: float) -> None:
        """Start empty. `timeout` is how long the server may be silent while it owes an answer, in seconds."""
        version = str(options.version)
        self._options = options
        self._version = int(version) if version.isdecimal() else 0
        self._answered = False
        self._window = window
        self._policy = policy
        self._timeout = timeout
        self._next_in = 0
        self._next_out = 0
        self._pending: dict[int, _Pending] = {}
        self._ready: dict[int, StreamBatch] = {}
        self._last_reply = 0.0
        self._reconnects: Attempts | None = None

    def room(self) -> bool:
        """Whether another batch may enter; the first goes alone until the version is known."""
        return len(self._pending) + len(self._ready) < self._window and (self._version > 0 or not self._pending)

    def add(self, name: Any, texts: Sequence[str]) -> None:
        """Add a batch; one that cannot be sent is answered with its error at once."""
        number = self._next_in
        self._next_in += 1
        try:
            part = requests.whole(texts, self._options)
        except MunjangError as error:
            self._ready[number] = StreamBatch(name, tuple(texts), None, error)
            return
        now = time.monotonic()
        attempts = Attempts(self._policy, now + self._timeout, answered=self._answered)
        self._pending[number] = _Pending(name, part, attempts, due=now)

    def next_request(self) -> embedding_service_pb2.EncodeStreamRequest | None:
        """The next message that may be sent now, or None."""
        now = time.monotonic()
        for number, batch in self._pending.items():
            if batch.due is not None and batch.due <= now:
                if not self._waiting():
                    self._last_reply = now
                batch.due = None
                request = batch.part.request(self._options, self._version)
                return embedding_service_pb2.EncodeStreamRequest(id=str(number), request=request)
        return None

    def until_due(self) -> float | None:
        """Seconds until `next_request` has one, where one waits for its time; else None."""
        dues = [batch.due for batch in self._pending.values() if batch.due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def receive(self, reply: embedding_service_pb2.EncodeStreamResponse) -> None:
        """Add an answer; one to a batch that is not here (answered before a reconnect) is dropped."""
        self._last_reply, self._reconnects = time.monotonic(), None
        number = int(reply.id) if reply.id.isdecimal() else -1
        batch = self._pending.get(number)
        if batch is None:
            return
        if reply.HasField("error"):
            error = from_status(reply.error)
            wait = batch.attempts.wait_after(error)
            if wait is not None:
                batch.due = time.monotonic() + wait
                return
            answer = StreamBatch(batch.id, batch.part.texts, None, error)
        else:
            self._version, self._answered = self._version or reply.response.version, True
            found = read_embeddings(reply.response, batch.part)
            answer = StreamBatch(batch.id, batch.part.texts, found)
        del self._pending[number]
        self._ready[number] = answer

    def take(self) -> StreamBatch | None:
        """Remove and return the answer that is next in order, if it is here."""
        taken = self._ready.pop(self._next_out, None)
        if taken is not None:
            self._next_out += 1
        return taken

    def empty(self) -> bool:
        """Whether no batch is unanswered and no answer waits to be taken."""
        return not self._pending and not self._ready

    def broken(self, error: MunjangError | None) -> float:
        """The stream ended, by `error` or without a reason, before all was answered; seconds until it may be reopened.

        Raises:
            MunjangError: it is not worth another try.
        """
        cause = error or ServerUnreachable("the server ended the stream before it had answered all of it")
        if self._reconnects is None:
            self._reconnects = Attempts(self._policy, time.monotonic() + self._timeout)
        wait = self._reconnects.wait_after(cause)
        if wait is None:
            raise cause
        due = time.monotonic() + wait
        for batch in self._pending.values():
            batch.due = due
        return wait

    def silence_left(self) -> float | None:
        """Seconds that the server may still be silent; None if it owes no answer, or if there is no limit.

        Raises:
            DeadlineExceeded: it was silent for too long.
        """
        if not self._waiting() or self._timeout == math.inf:
            return None
        left = self._last_reply + self._timeout - time.monotonic()
        if left <= 0:
            msg = f"the stream had no answer for {self._timeout:g} s"
            raise DeadlineExceeded(msg)
        return left

    def _waiting(self) -> bool:
        return any(batch.due is None for batch in self._pending.values())


def named_batches(
    items: Iterable[str] | Iterable[tuple[Any, Sequence[str]]], batch_size: int
) -> Iterator[tuple[Any, Sequence[str]]]:
    """The batches of a source: pairs as they are; plain texts grouped, named by the position of their first text.

    Reads only as far as the batch that it makes.
    """
    chunker = requests.Chunker(batch_size)
    for item in items:
        batch = chunker.push(item) if isinstance(item, str) else item
        if batch:
            yield batch
    if rest := chunker.flush():
        yield rest
