"""A stream for a program without an event loop: threads feed and read it, one lock guards `StreamState`.

One thread takes batches from the caller's source, grpc's own thread takes requests from `_requests`, one reads the
answers; the caller's thread hands them out and reopens a broken stream.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc

from munjang.client.failures import from_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from munjang.client.results import StreamBatch
    from munjang.client.stream import StreamState
    from munjang.errors import MunjangError
    from munjang.v1 import embedding_service_pb2


class SyncStream:
    """One use of `Client.encode_stream`."""

    def __init__(
        self, state: StreamState, source: Iterable[tuple[Any, Sequence[str]]], open_call: Callable[..., Any]
    ) -> None:
        """Open nothing yet; `open_call` takes an iterator of requests and returns grpc's call."""
        self._state = state
        self._source = source
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
