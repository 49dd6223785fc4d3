"""The cache of vectors: never over its bound, the longest unused leave first, versions are kept apart."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from munjang_server.embedding_cache import ENTRY_BYTES, VectorCache

COMPONENTS = st.integers(1, 400)
KEYS = st.tuples(st.integers(1, 3), st.integers(0, 9))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, COMPONENTS),
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("drop"), st.integers(1, 3)),
    ),
    max_size=60,
)


def row(components, value=1.0):
    return np.full(components, value, np.float32)


class Model:
    """The same cache, written the plain way."""

    def __init__(self, bound):
        self.bound = bound
        self.rows = OrderedDict()

    @property
    def bytes(self):
        return sum(ENTRY_BYTES + 4 * len(each) for each in self.rows.values())

    def put(self, key, vector):
        if ENTRY_BYTES + 4 * len(vector) > self.bound:
            return 0
        self.rows.pop(key, None)
        evicted = 0
        while self.bytes + ENTRY_BYTES + 4 * len(vector) > self.bound:
            self.rows.popitem(last=False)
            evicted += 1
        self.rows[key] = vector
        return evicted

    def get(self, key):
        if key in self.rows:
            self.rows.move_to_end(key)
        return self.rows.get(key)


@given(steps=STEPS, bound=st.integers(0, 8 * ENTRY_BYTES))
def test_it_holds_what_a_plain_model_holds_and_never_more_than_its_bound(steps, bound):
    cache, model = VectorCache(bound), Model(bound)
    sizes = {}
    for number, (what, which, *rest) in enumerate(steps):
        if what == "drop":
            cache.drop(which)
            model.rows = OrderedDict((key, value) for key, value in model.rows.items() if key[0] != which)
            continue
        version, key = which
        name = bytes([key])
        if what == "get":
            expected = model.get(which)
            found = cache.get(version, name)
            assert (found is None) == (expected is None)
            assert found is None or np.array_equal(found, expected)
        else:
            vector = row(sizes.setdefault(version, rest[0]), number)  # all vectors of a version have one length
            assert cache.put(version, name, vector) == model.put(which, vector)
        assert cache.bytes == model.bytes <= bound
        assert len(cache) == len(model.rows)


def test_a_vector_is_a_copy_and_keeps_no_batch_alive():
    cache = VectorCache(1 << 20)
    batch = np.ones((32, 8), np.float32)
    cache.put(1, b"a", batch[0])
    batch[:] = 7
    found = cache.get(1, b"a")
    assert found.tolist() == [1] * 8
    assert found.base is None


def test_a_vector_larger_than_the_cache_is_left_out_and_drives_nothing_out():
    cache = VectorCache(2 * ENTRY_BYTES)
    cache.put(1, b"a", row(8))
    assert cache.put(1, b"b", row(4 * ENTRY_BYTES)) == 0
    assert cache.get(1, b"a") is not None
    assert cache.get(1, b"b") is None


def test_versions_share_no_vectors():
    cache = VectorCache(1 << 20)
    cache.put(1, b"a", row(8, 1))
    cache.put(2, b"a", row(8, 2))
    cache.drop(1)
    assert cache.get(1, b"a") is None
    assert cache.get(2, b"a").tolist() == [2] * 8
