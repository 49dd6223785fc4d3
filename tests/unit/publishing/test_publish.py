"""A folder becomes a version with everything that its manifest must say."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.engine.preflight import probe
from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedDimensions
from munjang.korean import PROBES
from munjang.publishing import Lineage, publish_model
from munjang.publishing.describe import LIBRARIES
from munjang.registry import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(str(tmp_path / "registry"))


def test_the_manifest_describes_the_model_and_its_lineage(registry, folder):
    lineage = Lineage(
        base_model="klue/roberta-base",
        recipe="klue-roberta-nli",
        metrics={"korsts_dev_spearman": 0.8564},
        languages=("ko", "en"),
        data_fingerprint="sha256:0",
        matryoshka_dimensions=(16, 32, 8),
    )
    manifest = publish_model(registry, folder, lineage)
    assert manifest == registry.manifest(1)
    assert (manifest.dimensions, manifest.max_tokens, manifest.similarity) == (32, 64, "cosine")
    assert manifest.prompts == {"query": "질문: ", "document": ""}
    assert manifest.int8_scale > 0
    assert (manifest.base_model, manifest.recipe) == ("klue/roberta-base", "klue-roberta-nli")
    assert manifest.metrics == {"korsts_dev_spearman": 0.8564}
    assert manifest.languages == ("ko", "en")
    assert manifest.data_fingerprint == "sha256:0"
    assert manifest.matryoshka_dimensions == (8, 16)
    assert set(manifest.libraries) == set(LIBRARIES)


def test_the_recorded_vectors_are_those_that_the_version_gives(registry, folder):
    manifest = publish_model(registry, folder)
    encoder = load_encoder(registry.local_folder(1), LoadOptions(device="cpu", runtime="torch"))
    assert [item.text for item in manifest.probes] == list(PROBES)
    probe(encoder, manifest, least=0.9999)
    np.testing.assert_allclose(
        encode(encoder, PROBES), np.stack([item.array() for item in manifest.probes]), rtol=1e-4, atol=1e-5
    )


def test_among_the_probes_are_decomposed_hangul_and_a_text_past_the_limit(folder):
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))
    assert any(not unicodedata.is_normalized("NFC", text) for text in PROBES)
    assert any(tokens.truncated for tokens in encoder.tokenize(PROBES))


def test_what_was_left_out_is_told(registry, folder):
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "onnx").mkdir()
    told = []
    manifest = publish_model(registry, folder, tell=told.append)
    assert "left out: onnx/, training_args.bin" in told
    assert not any("training" in entry.path or "onnx" in entry.path for entry in manifest.files)


def test_progress_counts_the_bytes_that_are_copied(registry, folder):
    counted = []
    manifest = publish_model(registry, folder, progress=counted.append)
    assert sum(counted) == manifest.size_bytes


def test_nothing_is_published_of_a_refused_folder(registry, folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ForbiddenFile):
        publish_model(registry, folder)
    assert registry.versions() == []


def test_a_model_that_cannot_be_loaded_is_refused(registry, folder):
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(ModelLoadFailed):
        publish_model(registry, folder)
    assert registry.versions() == []


@pytest.mark.parametrize("lengths", [(0,), (-8, 16), (64,)])
def test_matryoshka_lengths_that_the_model_does_not_have_are_refused(registry, folder, lengths):
    with pytest.raises(UnsupportedDimensions, match="32 dimensions"):
        publish_model(registry, folder, Lineage(matryoshka_dimensions=lengths))
