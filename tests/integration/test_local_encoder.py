"""`munjang.Encoder` makes the vectors of its version in this process, as a client would get them from a server."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

import munjang
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.prompting import prompting
from munjang.errors import EmptyText, InvalidOption, TextTooLong, VersionNotFound, VersionNotReady
from munjang.kinds import Role
from tests.warming import CACHE_VERSIONS

TEXTS = ["오늘 날씨가 참 좋다.", "비가 온다.", "회의는 세 시에 시작합니다."]
PROGRAM = """
import pickle, sys
encoder = pickle.load(sys.stdin.buffer)
with encoder:
    sys.stdout.buffer.write(encoder.encode(["비가 온다."]).vectors.tobytes())
"""


@pytest.fixture
def encoder(tiny_registry, warm_cache, monkeypatch):
    monkeypatch.setenv("MUNJANG_CACHE", str(warm_cache))
    monkeypatch.setenv("MUNJANG_CACHE_VERSIONS", str(CACHE_VERSIONS))
    monkeypatch.setenv("MUNJANG_COMPUTE_TYPE", "float32")
    with munjang.Encoder(tiny_registry.url) as found:
        yield found


def test_its_vectors_are_those_of_the_version_by_role_and_prompt(encoder, tiny_registry):
    plain = load_encoder(tiny_registry.local_folder(1), LoadOptions(device="cpu", runtime="torch"))
    for options, how in (
        ({}, prompting(plain.info)),
        ({"role": "query"}, prompting(plain.info, role=Role.QUERY)),
        ({"prompt_name": "query"}, prompting(plain.info, prompt_name="query")),
        ({"prompt": "글: "}, prompting(plain.info, prompt="글: ")),
    ):
        wanted = encode(plain, TEXTS, how)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        found = encoder.encode(TEXTS, **options)
        assert (np.vecdot(found.vectors, wanted) > 0.9999).all(), options
    assert (found.version, found.space_id) == (1, tiny_registry.manifest(1).space_id)
    assert found.vectors.shape == (3, found.dimensions)
    assert (encoder.encode(TEXTS[0], dimensions=8).vectors == encoder.encode(TEXTS[:1], dimensions=8).vectors).all()


def test_it_is_pickled_without_its_model_and_opens_the_same_version_elsewhere(encoder):
    here = encoder.encode(["비가 온다."]).vectors
    data = pickle.dumps(encoder)
    assert len(data) < 100_000
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=data, stdout=subprocess.PIPE, check=True, timeout=120)
    there = np.frombuffer(done.stdout, "<f4")
    assert here[0] @ there > 0.99999


def test_bad_texts_and_options_are_named(encoder):
    with pytest.raises(EmptyText) as caught:
        encoder.encode(["글", " "])
    assert caught.value.path == "texts[1]"
    found = encoder.encode(["글", " ", "가 " * 500], truncation="none", partial_results=True)
    assert [(type(error), error.index) for error in found.errors] == [(EmptyText, 1), (TextTooLong, 2)]
    assert found.vectors[0].any()
    assert not found.vectors[1:].any()
    assert encoder.encode(["가 " * 500]).truncated == (0,)
    with pytest.raises(InvalidOption, match="no role"):
        encoder.encode(["글"], role="문서")
    with pytest.raises(VersionNotReady, match="has version 1"):
        encoder.encode(["글"], version=2)
    assert encoder.encode(["글"], version=encoder.space_id).version == 1
    with pytest.raises(VersionNotFound):
        munjang.Encoder(encoder.registry, "없음")
