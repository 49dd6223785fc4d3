"""What a call is charged: the work that the scheduler admits, and no more."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from munjang.encoder.contract import Prompting
from munjang.errors import DeadlineExceeded, DeadlineUnreachable, EmptyText, EncodeFailed, Overloaded, RateLimited
from munjang.settings import ServerSettings
from munjang.testing import FakeEncoder
from munjang_server.metrics import RequestMetrics
from munjang_server.rpc.calls import Call, Door, Rpc
from munjang_server.rpc.encode_pipeline import EncodePipeline, TextList
from munjang_server.rpc.request_parsing import PromptRequest
from munjang_server.scheduling.api import Encoded, Lane
from munjang_server.security.authentication import BURST_SECONDS, Caller, RateLimiter
from munjang_server.tokenizer_pool import TokenizerPool

TEXTS = ["하나", "둘"]
PLAIN = PromptRequest("options.")


class Lease:
    """A version that is always there."""

    version = 1
    space_id = "a" * 32
    encoder = FakeEncoder()

    def share(self):
        return self

    def release(self):
        pass


class Scheduler:
    """Encodes, or raises what it is told to."""

    def __init__(self):
        self.error = None

    def check_hopeless(self, work):
        return False

    async def encode(self, work):
        if self.error is not None:
            raise self.error
        return Encoded(np.zeros((len(work.tokens), 8), np.float32), {}, 0.0, 0.0)


class Engine:
    """Has one version."""

    def acquire(self, name):
        return Lease()


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def pipeline(scheduler):
    pool = TokenizerPool(1)
    metrics = RequestMetrics(CollectorRegistry(), {"grpc": ["Encode"]})
    yield EncodePipeline(Engine(), scheduler, pool, metrics, ServerSettings())
    pool.close()


@pytest.fixture
def limiter():
    """Allows as many texts as TEXTS has, and the tokens of one call, on a clock that stands still."""
    tokens = sum(map(len, Lease.encoder.tokenize(TEXTS)))
    return RateLimiter(len(TEXTS) / BURST_SECONDS, tokens / BURST_SECONDS, lambda: 100.0)


async def encode(pipeline, limiter, texts=TEXTS, seconds=60.0):
    call = Call(
        Rpc("service", "Encode"), Door.GRPC, "id", time.monotonic() + seconds, 0.0, caller=Caller("느린", limiter)
    )
    lease = pipeline.lease("", "version", call, len(texts))
    part = TextList("texts", texts, PLAIN)
    await pipeline.tokenize(call, lease, part, Lane.INTERACTIVE, truncate=True, partial=False)
    await pipeline.encode(call, lease, [part], Lane.INTERACTIVE)


@pytest.mark.parametrize("error", [Overloaded("voll"), DeadlineUnreachable("zu spät")], ids=lambda error: error.reason)
async def test_what_the_scheduler_does_not_admit_is_not_charged(pipeline, scheduler, limiter, error):
    for scheduler.error in (error, error, error):
        with pytest.raises(type(error)):
            await encode(pipeline, limiter)
    scheduler.error = None
    await encode(pipeline, limiter)
    with pytest.raises(RateLimited):
        await encode(pipeline, limiter)


async def test_what_comes_too_late_is_not_charged(pipeline, scheduler, limiter):
    scheduler.error = DeadlineExceeded("vorbei")
    with pytest.raises(DeadlineExceeded):
        await encode(pipeline, limiter, seconds=-1.0)
    scheduler.error = None
    await encode(pipeline, limiter)


@pytest.mark.parametrize("error", [DeadlineExceeded("vorbei"), EncodeFailed("kaputt")], ids=lambda error: error.reason)
async def test_what_fails_after_it_was_admitted_is_charged(pipeline, scheduler, limiter, error):
    scheduler.error = error
    with pytest.raises(type(error)):
        await encode(pipeline, limiter)
    scheduler.error = None
    with pytest.raises(RateLimited):
        await encode(pipeline, limiter)


async def test_a_call_with_an_invalid_text_is_not_charged(pipeline, limiter):
    for _ in range(3):
        with pytest.raises(EmptyText):
            await encode(pipeline, limiter, ["하나", ""])
    await encode(pipeline, limiter)


async def test_a_call_over_the_limit_is_refused_before_it_is_tokenised(pipeline, limiter, monkeypatch):
    await encode(pipeline, limiter)
    monkeypatch.setattr(Lease, "encoder", None)
    with pytest.raises(RateLimited) as caught:
        await encode(pipeline, limiter)
    assert caught.value.retry_after == pytest.approx(BURST_SECONDS)


async def test_long_lists_are_tokenised_piece_by_piece(pipeline):
    texts = ["가" * length for length in (60_000, 5_000, 70_000, 1, 2, 65_534, 3)]
    part = TextList("texts", texts, PromptRequest("options.", "query"))
    await tokenize(pipeline, Lease(), part)
    assert part.tokens == FakeEncoder().tokenize(texts, Prompting("질문: "))


async def test_of_a_call_that_nobody_waits_for_only_the_present_piece_is_tokenised(pipeline):
    lease, begun, gate, seen = Lease(), threading.Event(), threading.Event(), []

    def stall(texts, prompt):
        seen.append(texts)
        begun.set()
        gate.wait()
        return []

    lease.encoder = FakeEncoder()
    lease.encoder.tokenize = stall
    call = asyncio.create_task(tokenize(pipeline, lease, TextList("texts", ["가" * 100_000] * 3, PLAIN)))
    assert await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.set()
    lease.encoder = FakeEncoder()
    await tokenize(pipeline, lease, TextList("texts", ["가" * 100_000], PLAIN))  # whatever came before has run
    assert seen == [["가" * 100_000]]


async def tokenize(pipeline, lease, part):
    call = Call(Rpc("service", "Encode"), Door.GRPC, "id", time.monotonic() + 60.0, 0.0)
    await pipeline.tokenize(call, lease, part, Lane.INTERACTIVE, truncate=True, partial=False)
