"""How Client waits, calls in parallel and streams, by threads. `async_concurrency` does the same by asyncio.

Written by hand, while `sync_client` is generated: tasks of one event loop take turns and need no locks, threads do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from munjang.client.grpc_errors import from_call
from munjang.client.stream_state import named_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.client.results import StreamBatch
    from munjang.client.stream_state import StreamState
    from munjang.errors import MunjangError
    from munjang.v1 import embedding_service_pb2

Items = Iterable[str] | Iterable[tuple[Any, Sequence[str]]]
"""What can be streamed: texts, or pairs of an id and a list of texts."""

_T = TypeVar("_T")


class Closing:
    """Whether a client was closed, and waits that end when it is."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Note that the client was closed."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait; whether the client was closed meanwhile."""
        return self._event.wait(seconds)


def run_all(calls: Sequence[Callable[[], _T]], limit: int) -> list[_T]:
    """The results of all calls, at most `limit` running at once; the first failure ends the wait."""
    if not calls:
        return []
    pool = ThreadPoolExecutor(min(limit, len(calls)), "munjang-encode")
    try:
        futures = [pool.submit(call) for call in calls]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class SyncStream:
    """One use of `Client.encode_stream`.

    One thread reads the source, a thread of grpc takes requests from `_requests`, one reads the answers; the caller's
    thread delivers them and reopens a broken stream. One lock guards `StreamState`.
    """

    def __init__(self, state: StreamState, items: Items, batch_size: int, open_call: Callable[..., Any]) -> None:
        """Prepare a stream; `open_call` takes an iterator of requests and opens grpc's call."""
        self._state = state
        self._source = named_batches(items, batch_size)
        self._open_call = open_call
        self._changed = threading.Condition()
        self._call: Any = None
        self._ended = False  # the present call has, and `_error` says why
        self._error: MunjangError | None = None
        self._finished = False  # the source has
        self._failure: BaseException | None = None  # of the source or of reading, to be raised to the caller
        self._closed = False

    def batches(self) -> Iterator[StreamBatch]:
        """The answers, in the order of the source; whatever ends this iterator ends the call and the threads.

        Raises:
            MunjangError: the stream failed for good, or the server was silent for too long.
        """
        threading.Thread(target=self._feed, name="munjang-stream-feed", daemon=True).start()
        try:
            self._open()
            while (taken := self._next()) is not None:
                yield taken
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            if self._call is not None:
                self._call.cancel()

    def _next(self) -> StreamBatch | None:
        """Wait for the next answer; None at the end."""
        while True:
            with self._changed:
                if taken := self._state.take():
                    self._changed.notify_all()
                    return taken
                if self._failure is not None:
                    raise self._failure
                if self._finished and self._state.empty():
                    return None
                if not self._ended:
                    self._changed.wait(self._state.silence_left())
                    continue
                wait = self._state.broken(self._error)
                self._changed.wait_for(lambda: self._failure is not None, wait)
            self._open()

    def _open(self) -> None:
        with self._changed:
            self._ended, self._error = False, None
        over = threading.Event()
        call = self._open_call(self._requests(over))
        self._call = call
        threading.Thread(target=self._read, args=(call, over), name="munjang-stream-read", daemon=True).start()

    def _feed(self) -> None:
        error: BaseException | None = None
        try:
            for name, texts in self._source:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._state.room())
                    if self._closed:
                        return
                    self._state.add(name, texts)
                    self._changed.notify_all()
        except BaseException as caught:  # noqa: BLE001 - the caller's own error, raised again in the caller's thread
            error = caught
        with self._changed:
            self._finished = True
            self._failure = self._failure or error
            self._changed.notify_all()

    def _requests(self, over: threading.Event) -> Iterator[embedding_service_pb2.EncodeStreamRequest]:
        while True:
            with self._changed:
                request = None
                while request is None:
                    if self._closed or over.is_set() or (self._finished and self._state.empty()):
                        return
                    request = self._state.next_request()
                    if request is None:
                        self._changed.wait(self._state.until_due())
                self._changed.notify_all()  # from now on the server owes an answer
            yield request

    def _read(self, call: Any, over: threading.Event) -> None:
        error: MunjangError | None = None
        try:
            for reply in call:
                with self._changed:
                    self._state.receive(reply)
                    self._changed.notify_all()
        except grpc.RpcError as caught:
            error = from_call(caught)
        except Exception as caught:  # noqa: BLE001 - raised again in the caller's thread, which waits for this one
            with self._changed:
                self._failure = caught
        with self._changed:
            over.set()
            self._ended, self._error = True, error
            self._changed.notify_all()
