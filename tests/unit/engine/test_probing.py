"""A model serves only if it makes the vectors that were recorded when it was published."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.encoder.encode import encode
from munjang.engine.preflight import probe
from munjang.errors import ModelLoadFailed, ProbeMismatch
from munjang.kinds import ModelKind
from munjang.registry import Manifest, Probe
from munjang.testing import FakeEncoder

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]


def manifest(**changes):
    encoder = FakeEncoder()
    probes = [Probe.of(text, vector) for text, vector in zip(TEXTS, encode(encoder, TEXTS), strict=True)]
    fields = {"dimensions": 8, "max_tokens": 128, "probes": probes} | changes
    return Manifest(version=1, created_at=datetime.now(UTC), files=(), **fields)


def test_the_published_model_passes():
    assert probe(FakeEncoder(), manifest(), least=0.9999) >= 0.9999


def test_another_model_is_refused():
    with pytest.raises(ProbeMismatch, match="남자가 드럼을"):
        probe(FakeEncoder(seed=1), manifest(), least=0.9)


def test_a_manifest_of_other_dimensions_is_refused():
    with pytest.raises(ModelLoadFailed, match="8 dimensions, and its manifest says 16"):
        probe(FakeEncoder(), manifest(dimensions=16), least=0.9999)


def test_a_probe_vector_of_other_dimensions_is_refused():
    short = Probe.of(TEXTS[0], np.ones(4, np.float32))

    with pytest.raises(ProbeMismatch, match="4 dimensions"):
        probe(FakeEncoder(), manifest(probes=[short]), least=0.9999)


def test_a_manifest_without_probes_is_refused():
    with pytest.raises(ProbeMismatch, match="no probe"):
        probe(FakeEncoder(), manifest(probes=[]), least=0.9999)


def test_vectors_that_are_not_finite_are_refused(monkeypatch):
    encoder = FakeEncoder()
    monkeypatch.setattr(encoder, "_vector", lambda tokens: np.full(8, np.nan, np.float32))

    with pytest.raises(ModelLoadFailed, match="not finite"):
        probe(encoder, manifest(), least=0.9999)


SCORES = ModelInfo(1, 128, similarity="", kind=ModelKind.CROSS_ENCODER)


def of_pairs(seed=0):
    encoder = FakeEncoder(SCORES, seed=seed)
    pairs = [("누가?", text) for text in TEXTS]
    scores = encoder.forward(encoder.tokenize_pairs(pairs))
    probes = [Probe.of(text, score, query) for (query, text), score in zip(pairs, scores, strict=True)]
    return manifest(dimensions=1, kind=ModelKind.CROSS_ENCODER, similarity="", probes=probes)


def test_a_cross_encoder_is_held_to_its_scores_of_pairs():
    assert probe(FakeEncoder(SCORES), of_pairs(), least=0.999) == 1

    with pytest.raises(ProbeMismatch, match="they agree to less than"):
        probe(FakeEncoder(SCORES, seed=1), of_pairs(), least=0.999)


def test_scores_that_are_not_finite_are_refused(monkeypatch):
    encoder = FakeEncoder(SCORES)
    monkeypatch.setattr(encoder, "_vector", lambda tokens: np.full(1, np.inf, np.float32))

    with pytest.raises(ModelLoadFailed, match="scores that are not finite"):
        probe(encoder, of_pairs(), least=0.999)
