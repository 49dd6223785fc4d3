# Generated from async_client.py by `python -m tools.unasync`. Edit that file, not this one.
"""Client: texts in, numpy arrays out, for programs without an event loop."""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import grpc
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from munjang.client import requests, results
from munjang.client.connection import BaseClient
from munjang.client.grpc_errors import from_call, shift_index
from munjang.client.progress import Progress
from munjang.client.retry import ENDLESS_SECONDS
from munjang.client.stream_state import StreamState
from munjang.client.sync_concurrency import Closing, SyncStream, run_all
from munjang.errors import DeadlineExceeded, MunjangError, TryLater
from munjang.v1 import (
    embedding_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    rerank_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from munjang.client.choices import ModeName, PrecisionName, RoleName, TruncationName
    from munjang.client.results import AliasInfo, Embeddings, Ranking, Scores, StreamBatch, VersionInfo
    from munjang.client.sync_concurrency import Items

READY_POLL_SECONDS: Final = 0.1
"""How soon `wait_ready` asks again after a server closed the watch."""

HEALTH_WATCH: Final = "/grpc.health.v1.Health/Watch"
"""The base install has no stubs of grpc.health.v1. HealthCheckRequest is `string service = 1` and HealthCheckResponse
is `enum status = 1`; on the wire they equal the well-known StringValue and Int32Value, which are used instead."""

HEALTH_SERVING: Final = 1

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


class Connection(BaseClient):
    """One channel, opened at the first call, and calls with retries over it."""

    def _start(self) -> None:
        self._opened: grpc.Channel | None = None
        self._closing = Closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; running calls fail."""
        with self._opening:
            self._closed = True
            opened: Any = self._opened
        self._closing.set()
        if opened is not None:
            opened.close()

    @property
    def _channel(self) -> grpc.Channel:
        with self._opening:
            self._check_open()
            if self._opened is None:
                target, options = self._address.target, self._arguments
                self._opened = (
                    grpc.secure_channel(target, self._credentials, options=options)
                    if self._credentials
                    else grpc.insecure_channel(target, options=options)
                )
            return self._opened

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Reply],
        request: _Request,
        deadline: float | None = None,
        version: str = "",
    ) -> _Reply:
        """One call with its retries, until `deadline` or for the client's own timeout."""
        attempts, metadata = self._attempts(deadline, version), self._metadata()
        while True:
            try:
                return method(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as error:
                failure = from_call(error)
                pause = attempts.wait_after(failure)
                if pause is None or self._closing.wait(pause):
                    raise failure from error


class Client(Connection):
    """Calls munjang servers; use it in a `with` statement, or close it. Threads may share it.

    Every method raises the classes of `munjang.errors`: what the server said, `ServerUnreachable` if none answered,
    and `DeadlineExceeded` if time ran out.
    """

    @cached_property
    def _embedding(self) -> embedding_service_pb2_grpc.EmbeddingServiceStub:
        return embedding_service_pb2_grpc.EmbeddingServiceStub(self._channel)

    @cached_property
    def _models(self) -> model_service_pb2_grpc.ModelServiceStub:
        return model_service_pb2_grpc.ModelServiceStub(self._channel)

    @cached_property
    def _reranking(self) -> rerank_service_pb2_grpc.RerankServiceStub:
        return rerank_service_pb2_grpc.RerankServiceStub(self._channel)

    def encode(
        self,
        texts: Sequence[str] | str,
        *,
        version: str | int = "",
        role: RoleName = "",
        prompt_name: str = "",
        prompt: str | None = None,
        normalize: bool = True,
        dimensions: int = 0,
        precision: PrecisionName = "float32",
        truncation: TruncationName = "end",
        partial_results: bool = False,
        progress: bool | Callable[[int, int], object] = False,
        timeout: float | None = None,
    ) -> Embeddings:
        """The vectors of texts, all by one model version.

        A long list is sent as several calls in parallel; the first names the version and the others are pinned to it.

        Args:
            texts: what to encode, or one text.
            version: a version number, a space id or an alias; empty for "stable".
            role: what the texts are for, "query" or "document": the model's own prompt and route of that role; empty
                for none, with the model's default prompt.
            prompt_name: one of the model's prompts, put before each text in place of the role's.
            prompt: the text of a prompt (an instruction) instead; "" for none at all, also where the model has a
                default one.
            normalize: scale each vector to length 1.
            dimensions: keep the first components only (Matryoshka); 0 for all.
            precision: float32, float16, bfloat16, int8 or ubinary.
            truncation: "end" cuts a long text and says so; "none" refuses it.
            partial_results: a text that fails becomes an entry of `errors` and a row of zeros.
            progress: True prints how many texts of a long list are done; a function is called with that number and the
                number of all, at each answer.
            timeout: seconds for all of it; infinity for no limit. Not given, each of its calls has the client's own.

        Raises:
            MunjangError: see `munjang.errors`; `index` counts in `texts`.
        """
        options = requests.Options(
            *(version, prompt_name, normalize, dimensions, precision, truncation, partial_results, prompt, role)
        )
        first, *rest = requests.parts(texts, options, self._options.batch_size)
        deadline = self._deadline(timeout)
        done = Progress(progress, sum(len(part.texts) for part in (first, *rest)))
        found = self._encode_part(first, options, 0, deadline, done)
        calls = [partial(self._encode_part, part, options, found.version, deadline, done) for part in rest]
        return results.concatenate([found, *run_all(calls, self._options.in_flight)])

    def encode_stream(
        self,
        items: Items,
        *,
        version: str | int = "",
        role: RoleName = "",
        prompt_name: str = "",
        prompt: str | None = None,
        normalize: bool = True,
        dimensions: int = 0,
        precision: PrecisionName = "float32",
        truncation: TruncationName = "end",
        partial_results: bool = False,
        timeout: float | None = None,
    ) -> Iterator[StreamBatch]:
        """Encode any number of texts in bounded memory, over one call, all by one model version.

        At most `in_flight` batches are held at once: `items` is read further only as answers are taken. A broken
        connection is reopened, and what was not answered is sent again.
        A thread of its own reads the items.

        Args:
            items: texts, which are sent in batches of `batch_size`, or pairs of an id of yours and a list of texts.
            version: as in `encode`, like all that follow but the last.
            role: as in `encode`.
            prompt_name: as in `encode`.
            prompt: as in `encode`.
            normalize: as in `encode`.
            dimensions: as in `encode`.
            precision: as in `encode`.
            truncation: as in `encode`.
            partial_results: a text that fails does not fail its batch.
            timeout: seconds that the server may be silent while it owes an answer.

        Yields:
            The answers in the order of `items`. The error of one batch is in its answer and does not end the stream.

        Raises:
            MunjangError: the stream failed for good.
        """
        options = requests.Options(
            *(version, prompt_name, normalize, dimensions, precision, truncation, partial_results, prompt, role)
        )
        options.message()  # refuses what is wrong before anything starts
        state = StreamState(options, self._options.in_flight, self._options.retry, self._limit(timeout))
        metadata = self._metadata()

        def open_call(*outgoing: Any) -> Any:
            stub: Any = self._embedding  # the types lack grpc's read and write form
            return stub.EncodeStream(*outgoing, metadata=metadata)

        return SyncStream(state, items, self._options.batch_size, open_call).batches()

    def similarity(
        self,
        queries: Sequence[str] | str,
        candidates: Sequence[str] | str | None = None,
        *,
        mode: ModeName = "matrix",
        top_k: int = 0,
        version: str | int = "",
        query_role: RoleName = "",
        candidate_role: RoleName = "",
        query_prompt_name: str = "",
        candidate_prompt_name: str = "",
        query_prompt: str | None = None,
        candidate_prompt: str | None = None,
        dimensions: int = 0,
        truncation: TruncationName = "end",
        timeout: float | None = None,
    ) -> Scores:
        """Scores by the model's own similarity function; no vectors are sent.

        Args:
            queries: what to compare.
            candidates: what to compare with; None for the queries themselves.
            mode: "matrix" scores every query with every candidate, "pairwise" the first with the first and so on,
                "top_k" keeps the nearest `top_k` candidates of each query.
            top_k: how many to keep.
            version: a version number, a space id or an alias; empty for "stable".
            query_role: the role of the queries, as in `encode`; also of the candidates where none are given.
            candidate_role: the role of the candidates.
            query_prompt_name: the name of the queries' prompt.
            candidate_prompt_name: the name of the candidates' prompt.
            query_prompt: the text of the queries' prompt instead, as in `encode`.
            candidate_prompt: the text of the candidates' prompt instead.
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
            query_prompt=query_prompt,
            candidate_prompt=candidate_prompt,
            query_role=query_role,
            candidate_role=candidate_role,
            dimensions=dimensions,
            truncation=truncation,
        )
        reply = self._call(self._embedding.Similarity, request, self._deadline(timeout))
        return results.read_scores(reply, request.mode)

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int = 0,
        version: str | int = "",
        raw_scores: bool = False,
        truncation: TruncationName = "end",
        timeout: float | None = None,
    ) -> Ranking:
        """Documents in the order of how well they answer a query, all scored by one version of a cross-encoder.

        A long list is sent as several calls in parallel; the first names the version and the others are pinned to it.

        Args:
            query: what the documents should answer.
            documents: what to order.
            top_n: how many of them to return, best first; 0 for all.
            version: a version number or an alias; empty for "rerank".
            raw_scores: the model's output as it is, without its activation (most often a sigmoid).
            truncation: "end" cuts a pair that is too long, the longer text first, and says so; "none" refuses it.
            timeout: seconds for all of it; infinity for no limit. Not given, each of its calls has the client's own.

        Raises:
            MunjangError: see `munjang.errors`; `index` counts in `documents`.
        """
        first, *rest = requests.rerank_parts(
            query,
            documents,
            self._options.batch_size,
            version=version,
            top_n=top_n,
            raw_scores=raw_scores,
            truncation=truncation,
        )
        deadline = self._deadline(timeout)
        found = self._rerank_part(first, 0, deadline)
        calls = [partial(self._rerank_part, part, found.version, deadline) for part in rest]
        return results.merge([found, *run_all(calls, self._options.in_flight)], top_n)

    def versions(self, *, timeout: float | None = None) -> list[VersionInfo]:
        """All published versions as the server sees them, newest first."""
        reply = self._list_versions(timeout)
        return [results.read_version(version) for version in reply.versions]

    def registry_id(self, *, timeout: float | None = None) -> str:
        """The id of the server's registry: two servers with the same id have the same versions; "" if it has none."""
        return (self._list_versions(timeout)).registry_id

    def aliases(self, *, timeout: float | None = None) -> dict[str, AliasInfo]:
        """The aliases by name: what the registry says they name, and what the server answers with."""
        reply = self._list_versions(timeout)
        return results.read_aliases(reply.aliases)

    def version(self, name: str | int = "", *, timeout: float | None = None) -> VersionInfo:
        """One version, by number, space id or alias; empty for "stable".

        Raises:
            VersionNotFound: there is none of that name.
        """
        request = model_service_pb2.GetVersionRequest(version=str(name))
        reply = self._call(self._models.GetVersion, request, self._deadline(timeout))
        return results.read_version(reply.version)

    def wait_ready(self, timeout: float | None = 30.0) -> None:
        """Return once a server reports by grpc.health.v1 that it serves.

        Args:
            timeout: seconds; None for the client's own.

        Raises:
            DeadlineExceeded: none did in `timeout` seconds.
            MunjangError: waiting is useless: access denied, or no munjang server.
        """
        limit = self._limit(timeout)
        deadline, last = time.monotonic() + limit, None
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._watch_health(left):
                    return
            except grpc.RpcError as error:
                last = from_call(error)
                if not isinstance(last, TryLater | DeadlineExceeded):
                    raise last from error
            self._closing.wait(min(READY_POLL_SECONDS, left))
        raise self._not_ready(limit, last)

    def _watch_health(self, timeout: float) -> bool:
        """Whether the server reports that it serves before it ends the watch."""
        watch = self._channel.unary_stream(HEALTH_WATCH, StringValue.SerializeToString, Int32Value.FromString)
        limit, metadata = min(timeout, ENDLESS_SECONDS), self._metadata()
        call: Any = watch(StringValue(), timeout=limit, metadata=metadata, wait_for_ready=True)
        serves = False
        try:
            for status in call:
                serves = status.value == HEALTH_SERVING
                if serves:
                    break
        finally:
            call.cancel()
        return serves

    def _list_versions(self, timeout: float | None) -> model_service_pb2.ListVersionsResponse:
        request = model_service_pb2.ListVersionsRequest()
        return self._call(self._models.ListVersions, request, self._deadline(timeout))

    def _encode_part(
        self, part: requests.Part, options: requests.Options, version: int, deadline: float | None, done: Progress
    ) -> Embeddings:
        try:
            request = part.request(options, version)
            reply = self._call(self._embedding.Encode, request, deadline, request.options.version)
        except MunjangError as error:
            raise shift_index(error, part.start) from error.__cause__
        self._answered.add(reply.version)
        done.add(len(part.texts))
        return results.read_embeddings(reply, part, part.start)

    def _rerank_part(self, part: requests.RerankPart, version: int, deadline: float | None) -> Ranking:
        try:
            request = part.pinned(version)
            reply = self._call(self._reranking.Rerank, request, deadline, request.version)
        except MunjangError as error:
            raise shift_index(error, part.start) from error.__cause__
        self._answered.add(reply.version)
        return results.read_ranking(reply, len(request.documents), part.start)
