"""AsyncClient: texts in, numpy arrays out, for programs with an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from munjang.client import health, replies, requests
from munjang.client.aio_stream import AioStream
from munjang.client.base import READY_POLL_SECONDS, BaseClient
from munjang.client.failures import from_call, moved
from munjang.client.stream import StreamState, as_async, named_batches, named_batches_async
from munjang.errors import MunjangError
from munjang.v1 import embedding_service_pb2_grpc, model_service_pb2, model_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from munjang.client.results import AliasInfo, Embeddings, Scores, StreamBatch, VersionInfo

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


class AsyncClient(BaseClient):
    """`Client` with coroutines; use it in an `async with` statement, or close it. It belongs to one event loop."""

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Opened at the first use, so that it belongs to the loop that uses it."""
        target = self._address.target
        return (
            grpc.aio.secure_channel(target, self._credentials, options=self._arguments)
            if self._credentials
            else grpc.aio.insecure_channel(target, options=self._arguments)
        )

    @cached_property
    def _embedding(self) -> embedding_service_pb2_grpc.EmbeddingServiceAsyncStub:
        return embedding_service_pb2_grpc.EmbeddingServiceStub(self._channel)

    @cached_property
    def _models(self) -> model_service_pb2_grpc.ModelServiceAsyncStub:
        return model_service_pb2_grpc.ModelServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; calls under way fail."""
        self._closed = True
        await self._channel.close(None)

    async def encode(
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
        """The vectors of texts, all by one model version; arguments and errors as those of `Client.encode`."""
        options = requests.Options(version, prompt_name, normalize, dimensions, precision, truncation, partial_results)
        parts = requests.parts(texts, options, self._options.batch_size)
        deadline = self._deadline(timeout)
        first = await self._encode_part(parts[0], options, 0, deadline)
        return replies.joined([first, *await self._encode_rest(parts[1:], options, first.version, deadline)])

    def encode_stream(
        self,
        items: Iterable[str]
        | Iterable[tuple[Any, Sequence[str]]]
        | AsyncIterable[str]
        | AsyncIterable[tuple[Any, Sequence[str]]],
        *,
        version: str | int = "",
        prompt_name: str = "",
        normalize: bool = True,
        dimensions: int = 0,
        precision: str = "float32",
        truncation: str = "end",
        partial_results: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[StreamBatch]:
        """Encode any number of texts in bounded memory; as `Client.encode_stream`, and `items` may be asynchronous.

        A source that is not is read on the event loop.
        """
        options = requests.Options(version, prompt_name, normalize, dimensions, precision, truncation, partial_results)
        options.message()  # refuses what is wrong before anything starts
        silence = self._options.timeout if timeout is None else timeout
        state = StreamState(options, self._options.in_flight, self._options.retry, silence)
        metadata = self._metadata()
        size = self._options.batch_size
        source = (
            named_batches_async(items, size)
            if isinstance(items, AsyncIterable)
            else as_async(named_batches(items, size))
        )

        def open_call() -> Any:
            stub: Any = self._embedding  # the types lack grpc's read and write form
            return stub.EncodeStream(metadata=metadata)

        return AioStream(state, source, open_call).batches()

    async def similarity(
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
        """Scores by the model's own similarity function; arguments and errors as those of `Client.similarity`."""
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
        return replies.scores(
            await self._call(self._embedding.Similarity, request, self._deadline(timeout)), request.mode
        )

    async def versions(self, *, timeout: float | None = None) -> list[VersionInfo]:
        """All published versions as the server sees them, newest first."""
        reply = await self._call(
            self._models.ListVersions, model_service_pb2.ListVersionsRequest(), self._deadline(timeout)
        )
        return [replies.version_info(version) for version in reply.versions]

    async def aliases(self, *, timeout: float | None = None) -> dict[str, AliasInfo]:
        """The aliases by name: what the registry says they name, and what the server answers with."""
        reply = await self._call(
            self._models.ListVersions, model_service_pb2.ListVersionsRequest(), self._deadline(timeout)
        )
        return replies.alias_infos(reply.aliases)

    async def version(self, name: str | int = "", *, timeout: float | None = None) -> VersionInfo:
        """One version, by number or alias; empty for "stable".

        Raises:
            VersionNotFound: there is none of that name.
        """
        request = model_service_pb2.GetVersionRequest(version=str(name))
        reply = await self._call(self._models.GetVersion, request, self._deadline(timeout))
        return replies.version_info(reply.version)

    async def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once a server says, by grpc.health.v1, that it serves.

        Raises:
            DeadlineExceeded: none did in `timeout` seconds.
            MunjangError: waiting is of no use: access denied, or no munjang server.
        """
        deadline, last = time.monotonic() + timeout, None
        while (left := deadline - time.monotonic()) > 0:
            try:
                if await self._watch_health(left):
                    return
            except grpc.aio.AioRpcError as error:
                last = health.bearable(from_call(error))
            await asyncio.sleep(min(READY_POLL_SECONDS, left))
        raise self._not_ready(timeout, last)

    async def _watch_health(self, timeout: float) -> bool:
        watch = self._channel.unary_stream(health.WATCH, health.serialize, health.parse)
        call = watch(health.request(), timeout=timeout, metadata=self._metadata(), wait_for_ready=True)
        try:
            async for status in call:
                if status.value == health.SERVING:
                    return True
            return False
        finally:
            call.cancel()

    async def _encode_rest(
        self, parts: list[requests.Part], options: requests.Options, version: int, deadline: float | None
    ) -> list[Embeddings]:
        """Encode parts in parallel; the first failure ends the waiting."""
        if not parts:
            return []
        gate = asyncio.Semaphore(self._options.in_flight)

        async def encode(part: requests.Part) -> Embeddings:
            async with gate:
                return await self._encode_part(part, options, version, deadline)

        tasks = [asyncio.create_task(encode(part)) for part in parts]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _encode_part(
        self, part: requests.Part, options: requests.Options, version: int, deadline: float | None
    ) -> Embeddings:
        try:
            request = part.request(options, version)
            reply = await self._call(self._embedding.Encode, request, deadline, request.options.version)
        except MunjangError as error:
            raise moved(error, part.start) from error.__cause__
        self._answered.add(reply.version)
        return replies.embeddings(reply, part, part.start)

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Reply],
        request: _Request,
        deadline: float | None,
        version: str = "",
    ) -> _Reply:
        """One call with its retries."""
        attempts, metadata = self._attempts(deadline, version), self._metadata()
        while True:
            try:
                return await method(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                failure = from_call(error)
                pause = attempts.wait_after(failure)
                if pause is None:
                    raise failure from error
                await asyncio.sleep(pause)
