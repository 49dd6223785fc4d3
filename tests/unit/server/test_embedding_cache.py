"""Texts that come again take no forward, and the answer is the same as without the cache."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from munjang.encoder.contract import Prompting, Tokens
from munjang.errors import InternalError, Overloaded
from munjang.kinds import Role
from munjang.testing import POISON, FakeEncoder
from munjang_server.embedding_cache import CachedEncoder, CacheMetrics, VectorCache
from munjang_server.scheduling.api import Encoded, Work

ENCODERS = {1: FakeEncoder(seed=1), 2: FakeEncoder(seed=2, routed=True)}
WAYS = [None, Prompting("질문: "), Prompting(role=Role.QUERY), Prompting(role=Role.DOCUMENT)]


class Lease:
    """A version that is always there."""

    def __init__(self, version):
        self.version = version
        self.encoder = ENCODERS[version]


class Engine:
    """Encodes what it is asked, remembers it, and fails texts that begin with the poison."""

    def __init__(self):
        self.asked = []
        self.refuse = False

    async def encode(self, work):
        self.asked.append([chr(tokens.ids[1]) for tokens in work.tokens])
        if self.refuse:
            raise Overloaded("voll", retry_after=1.0)
        bad = {index for index, tokens in enumerate(work.tokens) if chr(tokens.ids[1]) == POISON}
        zero = np.zeros(8, np.float32)
        rows = [
            zero if index in bad else work.lease.encoder.forward([tokens])[0]
            for index, tokens in enumerate(work.tokens)
        ]
        return Encoded(np.stack(rows), {index: InternalError("독이 들었다") for index in bad}, 0.25, 0.5)


class Cached:
    """A cached encoder over an engine of its own."""

    def __init__(self, max_bytes=1 << 20):
        self.registry = CollectorRegistry()
        self.engine = Engine()
        self.cache = VectorCache(max_bytes)
        self.cached_encoder = CachedEncoder(self.engine, self.cache, CacheMetrics(self.registry, self.cache))

    def count(self, name):
        return self.registry.get_sample_value(f"munjang_server_embedding_cache_{name}")

    async def encode(self, texts, version=1, how=None):
        lease = Lease(version)
        return await self.cached_encoder.encode(Work(lease, lease.encoder.tokenize(texts, how)))


def test_nothing_is_refused_before_it_is_seen_whether_it_is_known():
    cached = Cached()
    cached.cached_encoder.check_hopeless(Work(Lease(1), [Tokens((0,))], deadline=0.0))


@given(
    calls=st.lists(
        st.tuples(st.sampled_from([1, 2]), st.sampled_from(WAYS), st.lists(st.sampled_from("가나다라독"), min_size=1)),
        max_size=8,
    ),
    max_bytes=st.sampled_from([0, 2000, 1 << 20]),
)
async def test_any_calls_are_answered_as_without_the_cache(calls, max_bytes):
    cached, plain = Cached(max_bytes), Engine()
    for version, how, texts in calls:
        expected = await plain.encode(Work(Lease(version), ENCODERS[version].tokenize(texts, how)))
        answer = await cached.encode(texts, version, how)
        np.testing.assert_array_equal(answer.rows, expected.rows)
        assert answer.rows.dtype == np.float32
        assert {key: str(error) for key, error in answer.errors.items()} == {
            key: str(error) for key, error in expected.errors.items()
        }
    texts = sum(len(texts) for _, _, texts in calls)
    assert cached.count("hits_total") + cached.count("misses_total") == texts


async def test_only_unknown_texts_are_encoded_each_of_them_once():
    cached = Cached()
    await cached.encode(["가", "나"])
    await cached.encode(["다", "나", "다", "라", "가"])
    assert cached.engine.asked == [["가", "나"], ["다", "라"]]
    assert (cached.count("hits_total"), cached.count("misses_total")) == (3, 4)
    assert cached.count("entries") == 4
    assert cached.count("bytes") == cached.cache.bytes > 0


async def test_a_call_of_known_texts_asks_nothing_of_the_engine():
    cached = Cached()
    await cached.encode(["가"])
    cached.engine.refuse = True
    answer = await cached.encode(["가", "가"])
    assert answer.rows.shape == (2, 8)
    assert (answer.queue_seconds, answer.forward_seconds) == (0, 0)
    with pytest.raises(Overloaded):
        await cached.encode(["가", "나"])
    assert (cached.count("hits_total"), cached.count("misses_total")) == (2, 1)


async def test_a_text_that_failed_is_tried_again():
    cached = Cached()
    for _ in range(2):
        answer = await cached.encode(["가", POISON, POISON])
        assert set(answer.errors) == {1, 2}
    assert cached.engine.asked == [["가", POISON], [POISON]]


async def test_evictions_are_counted():
    cached = Cached(2000)
    for text in "가나다라":
        await cached.encode([text])
    assert cached.count("evictions_total") == 2
    assert cached.count("entries") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"ids": (1, 2)},
        {"type_ids": (0, 0, 1)},
        {"prompt_tokens": 1},
        {"text": "가"},
        {"prompt": "가"},
        {"role": Role.QUERY},
    ],
    ids=str,
)
def test_whatever_a_forward_reads_is_part_of_the_key(change):
    cached_encoder = Cached().cached_encoder
    tokens = Tokens(ids=(1, 2, 3))
    assert cached_encoder._key(tokens) == cached_encoder._key(Tokens(ids=(1, 2, 3), truncated=True))
    assert cached_encoder._key(tokens) != cached_encoder._key(dataclasses.replace(tokens, **change))


def test_what_stands_side_by_side_does_not_run_together():
    cached_encoder = Cached().cached_encoder
    assert cached_encoder._key(Tokens(ids=(1, 2), type_ids=(3,))) != cached_encoder._key(
        Tokens(ids=(1,), type_ids=(2, 3))
    )
    assert cached_encoder._key(Tokens(ids=(1,), text="가나")) != cached_encoder._key(
        Tokens(ids=(1,), text="가", prompt="나")
    )
    assert cached_encoder._key(Tokens(ids=(1,), prompt="query")) != cached_encoder._key(
        Tokens(ids=(1,), role=Role.QUERY)
    )
