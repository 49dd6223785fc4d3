"""A small real gRPC server made of the stubs, which fails on demand: what the clients are tested against."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from munjang.client import AsyncClient, Client, RetryPolicy
from munjang.encoder.prompting import prompting
from munjang.errors import MunjangError
from munjang.testing import FakeEncoder
from munjang.v1 import (
    embedding_service_pb2,
    embedding_service_pb2_grpc,
    error_reason_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    resources_pb2,
)
from munjang.vectors import Precision, pack

SCALE = 0.05


def status(code, reason, message="안 됩니다", *, path="", retry=None):
    """A google.rpc.Status as the server makes it."""
    found = status_pb2.Status(code=code.value[0], message=message)
    found.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="munjang"))
    if path:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=path, description=message)
        found.details.add().Pack(bad)
    if retry is not None:
        delay = duration_pb2.Duration(seconds=int(retry), nanos=round(retry % 1 * 1e9))
        found.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return found


class Embedding(embedding_service_pb2_grpc.EmbeddingServiceServicer):
    """Encodes with FakeEncoder; `failures` are statuses (or bare codes) for the next calls, `requests` what came."""

    def __init__(self):
        self.encoder = FakeEncoder()
        self.version = 7
        self.failures = deque()
        self.requests = []
        self.metadata = []
        self.held = threading.Semaphore(1_000_000)  # acquire all to hold replies
        self.lock = threading.Lock()
        self.after_encode = lambda: None
        self.break_stream_after = None
        self.reorder = False
        self.streams = 0
        self.received = 0

    def note(self, request, context):
        with self.lock:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            self.abort(context, failure)

    @staticmethod
    def abort(context, failure):
        if isinstance(failure, grpc.StatusCode):
            context.abort(failure, "no details")
        context.set_trailing_metadata((("grpc-status-details-bin", failure.SerializeToString()),))
        code = next(code for code in grpc.StatusCode if code.value[0] == failure.code)
        context.abort(code, failure.message)

    def Encode(self, request, context):  # noqa: N802 - grpc's name
        self.note(request, context)
        reply = self.reply(request)
        self.after_encode()
        return reply

    def reply(self, request):
        version = int(request.options.version) if request.options.version.isdecimal() else self.version
        self.encoder.seed = version
        precision = Precision(
            resources_pb2.Precision.Name(request.options.precision).removeprefix("PRECISION_").lower()
        )
        how = prompting(self.encoder.info, prompt_name=request.options.prompt_name)
        tokens = self.encoder.tokenize([text or "x" for text in request.texts], how)
        rows = self.encoder.forward(tokens)
        errors = []
        for index, text in enumerate(request.texts):
            if not text:
                rows[index] = 0
                reason = error_reason_pb2.ErrorReason.ERROR_REASON_EMPTY_TEXT
                errors.append(embedding_service_pb2.TextError(index=index, reason=reason, message="비었음"))
        return embedding_service_pb2.EncodeResponse(
            version=version,
            space_id="5a" * 16,
            vectors=resources_pb2.Vectors(
                count=len(rows),
                dimensions=rows.shape[1],
                precision=request.options.precision,
                data=pack(rows, precision, SCALE),
                scale=SCALE if precision is Precision.INT8 else 0,
            ),
            token_counts=[len(token) for token in tokens],
            truncated=[index for index, token in enumerate(tokens) if token.truncated],
            errors=errors,
        )

    def EncodeStream(self, request_iterator, context):  # noqa: N802 - grpc's name
        self.streams += 1
        context.send_initial_metadata(())
        waiting = []
        for count, message in enumerate(request_iterator, 1):
            self.received += 1
            if self.break_stream_after is not None and count > self.break_stream_after:
                self.break_stream_after = None
                self.abort(context, grpc.StatusCode.UNAVAILABLE)
            with self.held:
                answer = self.answer(message, context)
            waiting.append(answer)
            if not self.reorder or len(waiting) == 3 or message.id in {"0", "9"}:
                yield from reversed(waiting)
                waiting.clear()
        yield from waiting

    def answer(self, message, context):
        with self.lock:
            self.requests.append(message.request)
            self.metadata.append(dict(context.invocation_metadata()))
            failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            return embedding_service_pb2.EncodeStreamResponse(id=message.id, error=failure)
        return embedding_service_pb2.EncodeStreamResponse(id=message.id, response=self.reply(message.request))

    def Similarity(self, request, context):  # noqa: N802 - grpc's name
        self.note(request, context)
        queries, candidates = len(request.queries), len(request.candidates or request.queries)
        modes = embedding_service_pb2.SimilarityMode
        rows, columns, indices = queries, candidates, []
        if request.mode == modes.SIMILARITY_MODE_PAIRWISE:
            rows, columns = 1, queries
        if request.mode == modes.SIMILARITY_MODE_TOP_K:
            columns = min(request.top_k, candidates)
            indices = list(range(columns)) * rows
        return embedding_service_pb2.SimilarityResponse(
            version=self.version,
            similarity_function=resources_pb2.SimilarityFunction.SIMILARITY_FUNCTION_COSINE,
            rows=rows,
            columns=columns,
            scores=np.arange(rows * columns, dtype="<f4").tobytes(),
            indices=indices,
            query_token_counts=[3] * queries,
            candidate_token_counts=[4] * len(request.candidates),
            truncated_queries=[0],
        )


class Models(model_service_pb2_grpc.ModelServiceServicer):
    """Version 7 serves, version 8 failed."""

    def ListVersions(self, _request, _context):  # noqa: N802 - grpc's name
        return model_service_pb2.ListVersionsResponse(
            versions=[self.described(8), self.described(7)],
            aliases=[model_service_pb2.Alias(name="stable", version=8, previous=7, serving=7)],
        )

    def GetVersion(self, request, context):  # noqa: N802 - grpc's name
        if request.version not in {"", "stable", "7"}:
            Embedding.abort(context, status(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND", path="version"))
        return model_service_pb2.GetVersionResponse(version=self.described(7))

    @staticmethod
    def described(number):
        states = resources_pb2.VersionState
        found = resources_pb2.ModelVersion(
            version=number,
            state=states.VERSION_STATE_AVAILABLE if number == 7 else states.VERSION_STATE_FAILED,
            reason="" if number == 7 else "sha256 다름",
            dimensions=8,
            max_tokens=128,
            similarity_function=resources_pb2.SimilarityFunction.SIMILARITY_FUNCTION_COSINE,
            prompts={"query": "질문: "},
            metrics={"korsts-dev.spearman": 0.8},
        )
        found.created_at.FromSeconds(1_700_000_000)
        return found


class Server:
    """The running server and its parts."""

    def __init__(self, credentials=None, port=0):
        self.embedding, self.models, self.health = Embedding(), Models(), health.HealthServicer()
        self.pool = ThreadPoolExecutor(16)
        self.server = grpc.server(self.pool, options=[("grpc.so_reuseport", 0)])
        embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server(self.embedding, self.server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self.models, self.server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        at = f"127.0.0.1:{port}"
        self.port = self.server.add_secure_port(at, credentials) if credentials else self.server.add_insecure_port(at)
        self.set_serving(serving=True)
        self.server.start()

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def set_serving(self, *, serving):
        states = health_pb2.HealthCheckResponse
        self.health.set("", states.SERVING if serving else states.NOT_SERVING)

    def stop(self):
        self.server.stop(0).wait()
        self.pool.shutdown()


@contextmanager
def _running(credentials=None, port=0):
    server = Server(credentials, port)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def running():
    """Makes servers for `with` statements."""
    return _running


@pytest.fixture
def server():
    with _running() as server:
        yield server


@pytest.fixture
def make_status():
    """Build the statuses that a server sends."""
    return status


@pytest.fixture
def caught():
    """Call something and return the MunjangError that it raises."""

    def call(function, *args, **options):
        with pytest.raises(MunjangError) as info:
            function(*args, **options)
        return info.value

    return call


class OnLoop:
    """AsyncClient behind the methods of Client, so that one test holds for both."""

    def __init__(self, *args, **options):
        self.runner = asyncio.Runner()
        self.client = AsyncClient(*args, **options)

    def __getattr__(self, name):
        def call(*args, **options):
            result = getattr(self.client, name)(*args, **options)
            return self.iterate(result) if name == "encode_stream" else self.runner.run(result)

        return call

    def iterate(self, answers):
        async def following():
            return await anext(answers, None)

        try:
            while (answer := self.runner.run(following())) is not None:
                yield answer
        finally:
            self.runner.run(answers.aclose())

    def close(self):
        self.runner.run(self.client.close())
        self.runner.close()


@pytest.fixture(params=[Client, OnLoop], ids=["sync", "aio"])
def connect(request):
    """Make clients of both kinds; they are closed at the end."""
    made = []

    def open_client(target, **options):
        options.setdefault("retry", RetryPolicy(initial=0.01))
        made.append(request.param(target, **options))
        return made[-1]

    yield open_client
    for client in made:
        client.close()


@pytest.fixture
def client(connect, server):
    return connect(server.target, batch_size=10)
