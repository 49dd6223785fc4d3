"""Client: texts in, numpy arrays out, for programs without an event loop. Safe to share between threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from munjang.client import health, replies, requests
from munjang.client.base import READY_POLL_SECONDS, BaseClient
from munjang.client.failures import from_call, moved
from munjang.client.stream import StreamState, named_batches
from munjang.client.sync_stream import SyncStream
from munjang.errors import MunjangError
from munjang.v1 import embedding_service_pb2_grpc, model_service_pb2, model_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from munjang.client.results import AliasInfo, Embeddings, Scores, StreamBatch, VersionInfo

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


class Client(BaseClient):
    """Calls munjang servers; use it in a `with` statement, or close it.

    Every method raises the classes of `munjang.errors`: what the server said, `ServerUnreachable` where none answered,
    and `DeadlineExceeded` where time ran out.
    """

    def _start(self) -> None:
        target = self._address.target
        self._channel = (
            grpc.secure_channel(target, self._credentials, options=self._arguments)
            if self._credentials
            else grpc.insecure_channel(target, options=self._arguments)
        )
        self._embedding = embedding_service_pb2_grpc.EmbeddingServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls under way fail."""
        self._closed = True
        self._closing.set()
        self._channel.close()

    def encode(
        self,
        texts: Sequence[str] | str,
        *,
        version: str | int = "",
        prompt_name: str = "",
        normalize: bool = True,
        dimensions: int = 0,
        precision: str = "float32",
        truncation: str = "end",
        partial_results: bool = False,
        timeout: float | None = None,
    ) -> Embeddings:
        """The vectors of texts, all by one model version.

        A long list goes as several calls in parallel; the first names the version and the others are pinned to it.

        Args:
            texts: what to encode, or one text.
            version: a version number or an alias; empty for "stable".
            prompt_name: one of the model's prompts, put before each text.
            normalize: scale each vector to length 1.
            dimensions: keep the first components only (Matryoshka); 0 for all.
            precision: float32, float16, bfloat16, int8 or ubinary.
            truncation: "end" cuts a long text and says so; "none" refuses it.
            partial_results: a text that fails becomes an entry of `errors` and a row of zeros.
            timeout: seconds for all of it. Not given, each of its calls has the client's own timeout.

        Raises:
            MunjangError: see `munjang.errors`; `index` counts in `texts`.
        """
        options = requests.Options(version, prompt_name, normalize, dimensions, precision, truncation, partial_results)
        parts = requests.parts(texts, options, self._options.batch_size)
        deadline = self._deadline(timeout)
        first = self._encode_part(parts[0], options, 0, deadline)
        return replies.joined([first, *self._encode_rest(parts[1:], options, first.version, deadline)])

    def encode_stream(
        self,
        items: Iterable[str] | Iterable[tuple[Any, Sequence[str]]],
        *,
        version: str | int = "",
        prompt_name: str = "",
        normalize: bool = True,
        dimensions: int = 0,
        precision: str = "float32",
        truncation: str = "end",
        partial_results: bool = False,
        timeout: float | None = None,
    ) -> Iterator[StreamBatch]:
        """Encode any number of texts in bounded memory, over one call, all by one model version.

        At most `in_flight` batches are held at once: `items` is read on, in a thread of its own, only as answers are
        taken. A broken connection is opened again and what was not answered is sent again.

        Args:
            items: texts, which are sent in batches of `batch_size`, or pairs of an id of yours and a list of texts.
            version: as all that follow but the last, as in `encode`.
            prompt_name: one of the model's prompts.
            normalize: scale each vector to length 1.
            dimensions: keep the first components only; 0 for all.
            precision: float32, float16, bfloat16, int8 or ubinary.
            truncation: "end" or "none".
            partial_results: a text that fails does not fail its batch.
            timeout: seconds that the server may be silent while it owes an answer.

        Yields:
            The answers in the order of `items`. The error of one batch stands in its answer and ends nothing.

        Raises:
            MunjangError: the stream failed for good.
        """
        options = requests.Options(version, prompt_name, normalize, dimensions, precision, truncation, partial_results)
        options.message()  # refuses what is wrong before a thread starts
        silence = self._options.timeout if timeout is None else timeout
        state = StreamState(options, self._options.in_flight, self._options.retry, silence)
        metadata = self._metadata()
        return SyncStream(
            state,
            named_batches(items, self._options.batch_size),
            lambda outgoing: self._embedding.EncodeStream(outgoing, metadata=metadata),
        ).batches()

    def similarity(
        self,
        queries: Sequence[str] | str,
        candidates: Sequence[str] | str | None = None,
        *,
        mode: str = "matrix",
        top_k: int = 0,
        version: str | int = "",
        query_prompt_name: str = "",
        candidate_prompt_name: str = "",
        dimensions: int = 0,
        truncation: str = "end",
        timeout: float | None = None,
    ) -> Scores:
        """Scores by the model's own similarity function; no vectors travel.

        Args:
            queries: what to compare.
            candidates: what to compare with; None for the queries themselves.
            mode: "matrix" scores every query with every candidate, "pairwise" the first with the first and so on,
                "top_k" keeps the nearest `top_k` candidates of each query.
            top_k: how many to keep.
            version: a version number or an alias; empty for "stable".
            query_prompt_name: the prompt of the queries.
            candidate_prompt_name: the prompt of the candidates.
            dimensions: compare in the first components only; 0 for all.
            truncation: "end" or "none", as in `encode`.
            timeout: seconds for the call, retries included.

        Raises:
            MunjangError: see `munjang.errors`.
        """
        request = requests.similarity_request(
            queries,
            candidates,
            mode=mode,
            top_k=top_k,
            version=version,
            query_prompt_name=query_prompt_name,
            candidate_prompt_name=candidate_prompt_name,
            dimensions=dimensions,
            truncation=truncation,
        )
        return replies.scores(self._call(self._embedding.Similarity, request, self._deadline(timeout)), request.mode)

    def versions(self, *, timeout: float | None = None) -> list[VersionInfo]:
        """All published versions as the server sees them, newest first."""
        reply = self._call(self._models.ListVersions, model_service_pb2.ListVersionsRequest(), self._deadline(timeout))
        return [replies.version_info(version) for version in reply.versions]

    def aliases(self, *, timeout: float | None = None) -> dict[str, AliasInfo]:
        """The aliases by name: what the registry says they name, and what the server answers with."""
        reply = self._call(self._models.ListVersions, model_service_pb2.ListVersionsRequest(), self._deadline(timeout))
        return replies.alias_infos(reply.aliases)

    def version(self, name: str | int = "", *, timeout: float | None = None) -> VersionInfo:
        """One version, by number or alias; empty for "stable".

        Raises:
            VersionNotFound: there is none of that name.
        """
        request = model_service_pb2.GetVersionRequest(version=str(name))
        return replies.version_info(self._call(self._models.GetVersion, request, self._deadline(timeout)).version)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once a server says, by grpc.health.v1, that it serves.

        Raises:
            DeadlineExceeded: none did in `timeout` seconds.
            MunjangError: waiting is of no use: access denied, or no munjang server.
        """
        deadline, last = time.monotonic() + timeout, None
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._watch_health(left):
                    return
            except grpc.RpcError as error:
                last = health.bearable(from_call(error))
            self._closing.wait(min(READY_POLL_SECONDS, left))
        raise self._not_ready(timeout, last)

    def _watch_health(self, timeout: float) -> bool:
        watch = self._channel.unary_stream(health.WATCH, health.serialize, health.parse)
        call = watch(health.request(), timeout=timeout, metadata=self._metadata(), wait_for_ready=True)
        try:
            return any(status.value == health.SERVING for status in call)
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs

    def _encode_rest(
        self, parts: list[requests.Part], options: requests.Options, version: int, deadline: float | None
    ) -> list[Embeddings]:
        """Encode parts in parallel; the first failure ends the waiting."""
        if not parts:
            return []
        pool = ThreadPoolExecutor(min(self._options.in_flight, len(parts)), "munjang-encode")
        try:
            futures = [pool.submit(self._encode_part, part, options, version, deadline) for part in parts]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _encode_part(
        self, part: requests.Part, options: requests.Options, version: int, deadline: float | None
    ) -> Embeddings:
        try:
            request = part.request(options, version)
            reply = self._call(self._embedding.Encode, request, deadline, request.options.version)
        except MunjangError as error:
            raise moved(error, part.start) from error.__cause__
        self._answered.add(reply.version)
        return replies.embeddings(reply, part, part.start)

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Reply],
        request: _Request,
        deadline: float | None,
        version: str = "",
    ) -> _Reply:
        """One call with its retries."""
        attempts, metadata = self._attempts(deadline, version), self._metadata()
        while True:
            try:
                return method(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as error:
                failure = from_call(error)
                pause = attempts.wait_after(failure)
                if pause is None or self._closing.wait(pause):
                    raise failure from error
