"""Both kinds of models in one real server: callers of Encode and Rerank side by side while the reranker changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.client import Client, RetryPolicy
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_cross_encoder
from tests.warming import warm

QUERY = "환불은 얼마나 걸리나요?"
DOCUMENTS = ["비가 온다.", "환불은 3~5일 안에 됩니다. " * 9, "고양이가 창가에서 졸고 있다.", "생일 축하해!! 🎉"]
TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]


@pytest.fixture
def folders(tmp_path):
    return {version: tiny_cross_encoder(tmp_path / f"cross-{version}", seed=version) for version in (2, 3)}


@pytest.fixture
def registry(tmp_path, tiny_folder, folders, warm_cache):
    """A dense version 1 behind `stable`; two cross-encoders, the first of them behind `rerank`; all in the cache."""
    registry = Registry(str(tmp_path / "registry"))
    registry.promote("stable", publish_model(registry, tiny_folder).version, "test")
    for version, folder in folders.items():
        assert publish_model(registry, folder).version == version
    registry.promote("rerank", 2, "test")
    warm(registry, warm_cache)
    return registry


class Caller(threading.Thread):
    """Calls without a pause, and keeps every reply and every error."""

    def __init__(self, target, call):
        super().__init__()
        self._target, self._call = target, call
        self._done = threading.Event()
        self.replies = []
        self.errors = []

    def run(self):
        with Client(self._target, retry=RetryPolicy(attempts=1)) as client:
            while not self._done.is_set():
                try:
                    self.replies.append(self._call(client))
                except Exception as error:  # noqa: BLE001 - the test shows whatever it was
                    self.errors.append(error)

    def finish(self):
        self._done.set()
        self.join(30)
        assert not self.is_alive()


def test_a_reranker_changes_under_load_and_every_score_is_that_of_its_version(
    registry, folders, tiny_folder, start_server
):
    server = start_server(registry.url, watch_seconds=0.05)
    server.wait_for("alias moved", alias="rerank", new=2)
    callers = [
        *(Caller(server.target, lambda client: client.rerank(QUERY, DOCUMENTS)) for _ in range(3)),
        *(Caller(server.target, lambda client: client.encode(TEXTS)) for _ in range(3)),
    ]
    for caller in callers:
        caller.start()
    for turn, version in enumerate((3, 2, 3), 1):
        registry.promote("rerank", version, "test")
        server.wait_for_count("alias moved", 2 + turn)
    for caller in callers:
        caller.finish()
    assert [error for caller in callers for error in caller.errors] == []

    rankings = [reply for caller in callers[:3] for reply in caller.replies]
    assert {ranking.version for ranking in rankings} == {2, 3}
    pairs = [(QUERY, document) for document in DOCUMENTS]
    own = {version: CrossEncoder(str(folder), device="cpu").predict(pairs) for version, folder in folders.items()}
    for ranking in rankings:
        scores = own[ranking.version]
        assert [each.index for each in ranking.results] == np.argsort(-scores, kind="stable").tolist()
        np.testing.assert_allclose([each.score for each in ranking.results], np.sort(scores)[::-1], atol=1e-4)
        assert ranking.truncated == (1,)
    expected = SentenceTransformer(str(tiny_folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    for reply in (reply for caller in callers[3:] for reply in caller.replies):
        assert np.einsum("ij,ij->i", reply.vectors, expected).min() >= 0.9999
    assert server.stop() == 0
