"""EmbeddingService: encodes texts in one call or in a stream, and compares texts without sending their vectors."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Self

import grpc

from munjang.encoder import similarity
from munjang.encoder.postprocess import OutputOptions, finish, packed
from munjang.errors import InvalidOption, MunjangError, ShuttingDown, UnsupportedDimensions
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import error_reason_pb2
from munjang.vectors import Precision
from munjang_server.rpc.calls import within
from munjang_server.rpc.encode_pipeline import TextList
from munjang_server.rpc.errors import status_of
from munjang_server.rpc.request_parsing import (
    PRECISION_NUMBERS,
    SIMILARITY_FUNCTIONS,
    Parser,
    PromptRequest,
    check_count,
    output_options,
    raise_first,
    role_of,
    similarity_mode,
    truncates,
)
from munjang_server.scheduling.api import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import ModelInfo
    from munjang.settings import ServerSettings
    from munjang_server.rpc.calls import Call, Calls
    from munjang_server.rpc.encode_pipeline import EncodePipeline

SERVICE = pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name


@dataclass(slots=True)
class EncodeResult:
    """What an Encode reply is made of."""

    version: int
    space_id: str
    info: ModelInfo
    options: OutputOptions
    encoded: TextList

    def rows(self) -> NDArray[np.float32]:
        """The finished vectors, float32 [n, d]; those of gRPC's reply in PRECISION_FLOAT32."""
        return finish(self.encoded.rows, self.options)

    def fill(self, reply: pb2.EncodeResponse) -> None:
        """Write the reply; packs the vectors."""
        encoded, options, vectors = self.encoded, self.options, reply.vectors
        reply.version, reply.space_id = self.version, self.space_id
        vectors.count = len(encoded.rows)
        vectors.dimensions = options.dimensions or self.info.dimensions
        vectors.precision = PRECISION_NUMBERS[options.precision]
        vectors.data = packed(encoded.rows, options, self.info)
        if options.precision is Precision.INT8:
            vectors.scale = self.info.int8_scale
        reply.token_counts.extend(encoded.token_counts())
        reply.truncated.extend(encoded.truncated())
        for index in sorted(encoded.errors):
            error = encoded.errors[index]
            reason = error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason}")
            reply.errors.add(index=index, reason=reason, message=str(error))

    def serialize(self) -> bytes:
        """The reply of Encode."""
        reply = pb2.EncodeResponse()
        self.fill(reply)
        return reply.SerializeToString()

    def serialize_for_stream(self, name: str) -> bytes:
        """The reply to one message of EncodeStream."""
        reply = pb2.EncodeStreamResponse(id=name)
        self.fill(reply.response)
        return reply.SerializeToString()


class Encode:
    """Serves Encode: a batch of texts in, one vector each out."""

    def __init__(self, pipeline: EncodePipeline) -> None:
        self._pipeline = pipeline
        settings = pipeline.settings
        self._parser = Parser(pb2.EncodeRequest, settings.max_message_bytes, max_texts=settings.max_texts)

    async def __call__(self, raw: bytes, call: Call) -> bytes:
        """Answer one call."""
        request, unreadable = self._parser.parse_partial(raw)
        return await self.answer(request, unreadable, call, Lane.INTERACTIVE, EncodeResult.serialize)

    async def answer(
        self,
        request: pb2.EncodeRequest,
        unreadable: Mapping[int, MunjangError],
        call: Call,
        lane: Lane,
        serialize: Callable[[EncodeResult], bytes],
    ) -> bytes:
        """Answer one request, its `unreadable` texts known by index.

        Raises:
            MunjangError: it is refused or failed.
        """
        pipeline, wanted, salvage = self._pipeline, request.options, request.partial_results
        call.texts = len(request.texts)
        check_count(call.texts, pipeline.settings.max_texts, "texts")  # before all of them become strings of Python
        texts = list(request.texts)
        options = output_options(wanted)
        truncate = truncates(wanted.truncation, "options.truncation")
        part = TextList("texts", texts, PromptRequest.of_options(wanted), errors=unreadable)
        with pipeline.lease(wanted.version, "options.version", call, len(texts)) as lease:
            info = lease.encoder.info
            options.check(info)
            await pipeline.tokenize(call, lease, part, lane, truncate=truncate, partial=salvage)
            await pipeline.encode(call, lease, [part], lane)
            if not salvage:
                raise_first(part.errors)
            result = EncodeResult(lease.version, lease.space_id, info, options, part)
            return await pipeline.finish(call, lease, part.rows.size, partial(serialize, result))


class EncodeStream:
    """Serves EncodeStream: many batches over one call, a bounded number of them in flight.

    A message takes a place in the window before it is read and frees it when its reply has been written, and gRPC's
    own flow control lets a write wait until the client reads. So a client that sends much and reads slowly has to wait,
    and the server holds no more than the window.

    Args:
        encode: answers each batch, as it does a call of its own.
        calls: decides what a client may see of an error.
        settings: the window, and the deadline of a batch.
    """

    def __init__(self, encode: Encode, calls: Calls, settings: ServerSettings) -> None:
        self._encode = encode
        self._calls = calls
        self._settings = settings
        limits = settings.max_message_bytes, "request", settings.max_texts
        self._parser = Parser(pb2.EncodeStreamRequest, *limits)

    async def __call__(self, call: Call) -> None:
        """Answer one stream until the client ends it.

        Raises:
            ShuttingDown: the server drains; every batch that was read has been answered.
        """
        window = asyncio.Semaphore(self._settings.stream_window)
        writing = asyncio.Lock()
        with _Reader(call.context, self._calls.draining) as reader:
            async with asyncio.TaskGroup() as batches:
                while True:
                    await window.acquire()
                    raw = await reader.next()
                    if raw is None:
                        break
                    batches.create_task(self._one(raw, call, window, writing))
        if reader.stopped:
            msg = "the server is shutting down; batches without a reply were not read"
            raise ShuttingDown(msg)

    async def _one(self, raw: bytes, call: Call, window: asyncio.Semaphore, writing: asyncio.Lock) -> None:
        try:
            reply = await self._reply(raw, call)
            async with writing:
                await call.write(reply)
        finally:
            window.release()

    async def _reply(self, raw: bytes, call: Call) -> bytes:
        now = time.monotonic()
        seconds = min(self._settings.default_deadline_seconds, call.deadline - now)
        message = call.message(now + seconds)
        name = ""
        try:
            request, unreadable = self._parser.parse_partial(raw)
            name = request.id
            serialize = methodcaller("serialize_for_stream", name)
            work = self._encode.answer(request.request, unreadable, message, Lane.BULK, serialize)
            return await within(seconds, work)
        except Exception as error:  # noqa: BLE001 - an error belongs to its message and does not end the stream
            shown = self._calls.public_error(message, error)
            failure = pb2.EncodeStreamResponse(id=name or self._id_of(raw), error=status_of(shown))
            return failure.SerializeToString()
        finally:
            call.texts += message.texts
            if message.version:
                call.version, call.space_id = message.version, message.space_id
            if call.spans is not None and message.spans is not None:
                call.spans.extend(message.spans)

    def _id_of(self, raw: bytes) -> str:
        """The id of a message that does not parse, if it can be found."""
        lenient: Any = self._parser.parse_lenient(raw) if len(raw) <= self._settings.max_message_bytes else None
        return "" if lenient is None else lenient.id.decode(errors="replace")


class _Reader:
    """Reads messages until the client ends or the server drains; a context manager.

    Attributes:
        stopped: whether it was the server that ended.
    """

    def __init__(self, context: Any, draining: asyncio.Event) -> None:
        self._context = context
        self._stop = asyncio.ensure_future(draining.wait())
        self.stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.cancel()

    async def next(self) -> bytes | None:
        """The next message, or None at the end."""
        read = asyncio.ensure_future(self._context.read())
        read.add_done_callback(_retrieve_exception)
        await asyncio.wait({read, self._stop}, return_when=asyncio.FIRST_COMPLETED)
        if not read.done():
            self.stopped = True
            return None
        message: bytes = read.result()
        return None if message is grpc.aio.EOF else message  # type: ignore[attr-defined]  # stubs of an older grpc


def _retrieve_exception(read: asyncio.Future[bytes]) -> None:
    """Keep asyncio from logging the failure of a read that no task awaits any more; the read ends with its call."""
    if not read.cancelled():
        read.exception()


@dataclass(slots=True)
class SimilarityResult:
    """What a Similarity reply is made of; without `candidates` the queries are compared with themselves."""

    version: int
    space_id: str
    info: ModelInfo
    mode: int
    top_k: int
    dimensions: int
    queries: TextList
    candidates: TextList | None

    def serialize(self) -> bytes:
        """Score, and write the reply."""
        reply = pb2.SimilarityResponse(
            version=self.version,
            space_id=self.space_id,
            similarity_function=SIMILARITY_FUNCTIONS[self.info.similarity],
            query_token_counts=self.queries.token_counts(),
            truncated_queries=self.queries.truncated(),
        )
        if self.candidates is not None:
            reply.candidate_token_counts.extend(self.candidates.token_counts())
            reply.truncated_candidates.extend(self.candidates.truncated())
        self._score(reply)
        return reply.SerializeToString()

    def _score(self, reply: pb2.SimilarityResponse) -> None:
        kept = self.dimensions or self.info.dimensions
        left = self.queries.rows[:, :kept]
        right = left if self.candidates is None else self.candidates.rows[:, :kept]
        if self.mode == pb2.SIMILARITY_MODE_PAIRWISE:
            scores = similarity.pairwise(left, right, self.info.similarity)[None]
        else:
            scores = similarity.matrix(left, right, self.info.similarity)
        if self.mode == pb2.SIMILARITY_MODE_TOP_K:
            scores, indices = similarity.top_k(scores, self.top_k)
            reply.indices.extend(indices.ravel().tolist())
        reply.rows, reply.columns = scores.shape
        reply.scores = scores.astype("<f4", copy=False).tobytes()


class Similarity:
    """Serves Similarity: texts in, only their scores out."""

    def __init__(self, pipeline: EncodePipeline) -> None:
        self._pipeline = pipeline
        settings = pipeline.settings
        self._parser = Parser(pb2.SimilarityRequest, settings.max_message_bytes, max_texts=settings.max_texts)

    async def __call__(self, raw: bytes, call: Call) -> bytes:
        """Answer one call."""
        return await self.answer(self._parser.parse(raw), call)

    async def answer(self, request: pb2.SimilarityRequest, call: Call) -> bytes:
        """Answer one request.

        Raises:
            MunjangError: it is refused or failed.
        """
        count = call.texts = len(request.queries) + len(request.candidates)
        mode = similarity_mode(request.mode)
        truncate = truncates(request.truncation, "truncation")
        self._check(request, mode)
        queries = TextList("queries", list(request.queries), _query_prompt(request))
        candidates = None
        parts = [queries]
        if request.candidates:
            candidates = TextList("candidates", list(request.candidates), _candidate_prompt(request))
            parts.append(candidates)
        pipeline, lane = self._pipeline, Lane.INTERACTIVE
        with pipeline.lease(request.version, "version", call, count) as lease:
            info = lease.encoder.info
            _check_dimensions(request.dimensions, info)
            for part in parts:
                await pipeline.tokenize(call, lease, part, lane, truncate=truncate, partial=False)
            await pipeline.encode(call, lease, parts, lane)
            for part in parts:
                raise_first(part.errors)
            result = SimilarityResult(
                *(lease.version, lease.space_id, info, mode, request.top_k, request.dimensions, queries, candidates)
            )
            cost = _cost(len(request.queries), len(request.candidates), info.dimensions, mode)
            return await pipeline.finish(call, lease, cost, result.serialize)

    def _check(self, request: pb2.SimilarityRequest, mode: int) -> None:
        """Refuse lists that do not go together, and options that contradict the mode."""
        settings = self._pipeline.settings
        queries, candidates = len(request.queries), len(request.candidates)
        check_count(queries, settings.max_texts, "queries")
        if mode == pb2.SIMILARITY_MODE_PAIRWISE:
            check_count(candidates, settings.max_texts, "candidates")
            if queries != candidates:
                msg = f"pairs need as many candidates as queries; there are {candidates} and {queries}"
                raise InvalidOption(msg, field="candidates")
        elif queries * (candidates or queries) > settings.max_scores:
            msg = (
                f"{queries} × {candidates or queries} scores; this server gives up to {settings.max_scores} in one call"
            )
            raise InvalidOption(msg, field="candidates" if candidates else "queries")
        check_count(queries + candidates, settings.max_texts, "candidates")
        if (mode == pb2.SIMILARITY_MODE_TOP_K) != bool(request.top_k):
            msg = "top_k goes with SIMILARITY_MODE_TOP_K, and must be at least 1 there"
            raise InvalidOption(msg, field="top_k")
        if not candidates:
            _refuse_candidate_prompt(request)


def _query_prompt(request: pb2.SimilarityRequest) -> PromptRequest:
    prompt = request.query_prompt if request.HasField("query_prompt") else None
    return PromptRequest("query_", request.query_prompt_name, prompt, role_of(request.query_role, "query_role"))


def _candidate_prompt(request: pb2.SimilarityRequest) -> PromptRequest:
    prompt = request.candidate_prompt if request.HasField("candidate_prompt") else None
    role = role_of(request.candidate_role, "candidate_role")
    return PromptRequest("candidate_", request.candidate_prompt_name, prompt, role)


def _refuse_candidate_prompt(request: pb2.SimilarityRequest) -> None:
    """Refuse a prompt or role of candidates where there are none."""
    given = {
        "candidate_prompt_name": bool(request.candidate_prompt_name),
        "candidate_prompt": request.HasField("candidate_prompt"),
        "candidate_role": bool(request.candidate_role),
    }
    for field in (field for field, is_given in given.items() if is_given):
        what = field.removeprefix("candidate_").replace("_", " ")
        msg = f"there are no candidates for this {what}: the queries are compared with themselves"
        raise InvalidOption(msg, field=field)


def _check_dimensions(dimensions: int, info: ModelInfo) -> None:
    try:
        OutputOptions(dimensions=dimensions).check(info)
    except UnsupportedDimensions as error:
        error.field = "dimensions"
        raise


def _cost(queries: int, candidates: int, dimensions: int, mode: int) -> int:
    """How much work the scoring is, in the terms of `EncodePipeline.finish`."""
    pairs = queries if mode == pb2.SIMILARITY_MODE_PAIRWISE else queries * (candidates or queries)
    return pairs * dimensions // 16
