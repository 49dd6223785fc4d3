"""Forwards beside each other: as many as there are streams, each with the vectors that it would have alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from munjang.encoder.contract import Tokens
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime.compiled import CompiledRequest
from munjang.testing_models import tiny_model


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_tokens=128)
    export = tmp_path_factory.mktemp("cache") / "tiny"

    def make(*, threads=2, interactive=True):
        options = {"device": "cpu", "compute_type": "float32", "export": export}
        return load_encoder(folder, LoadOptions(**options, threads=threads, interactive=interactive))

    return make


@pytest.fixture
def encoder(load):
    encoder = load()
    yield encoder
    encoder.close()


def batch_of(*lengths):
    return [Tokens(tuple(5 + (7 * text + step) % 90 for step in range(length))) for text, length in enumerate(lengths)]


def side_by_side(encoder, batches):
    with ThreadPoolExecutor(len(batches)) as threads:
        return list(threads.map(lambda batch: encoder.forward(batch, share=True), batches))


def test_there_are_as_many_as_the_threads_allow_and_one_where_no_caller_waits(load):
    assert load(threads=2).streams == 2
    assert load(threads=1).streams == 1
    assert load(interactive=False).streams == 1


def test_each_gives_the_vectors_that_it_gives_alone(encoder):
    batches = [batch_of(3, 120, 17), batch_of(60), batch_of(*[9] * 20), batch_of(64, 64), batch_of(128, 4, 5)]
    for found, batch in zip(side_by_side(encoder, batches), batches, strict=True):
        assert np.allclose(found, encoder.forward(batch), atol=1e-5)


def test_where_it_cannot_be_shared_a_forward_takes_its_turn(load):
    encoder, batch = load(threads=1), batch_of(3, 120, 17)
    for found in side_by_side(encoder, [batch] * 4):
        assert np.allclose(found, encoder.forward(batch), atol=1e-5)


def test_as_many_run_at_a_time_as_there_are_streams_and_no_more(encoder, monkeypatch):
    both, running, most = threading.Barrier(2), [], []
    run = CompiledRequest.run

    def watched(request, inputs, cancellation=None):
        running.append(request)
        most.append(len(running))
        both.wait(20)  # passes by twos alone
        found = run(request, inputs, cancellation)
        both.wait(20)
        running.remove(request)
        both.wait(20)
        return found

    monkeypatch.setattr(CompiledRequest, "run", watched)
    side_by_side(encoder, [batch_of(9)] * 6)
    assert max(most) == 2


def test_one_that_fails_leaves_its_stream_to_others(encoder, monkeypatch):
    batch = batch_of(9, 30)
    expected = encoder.forward(batch)
    with monkeypatch.context() as failing:
        failing.setattr(CompiledRequest, "run", lambda *_: (_ for _ in ()).throw(MemoryError))
        for _ in range(2 * encoder.streams):
            with pytest.raises(MemoryError):
                encoder.forward(batch, share=True)

    for found in side_by_side(encoder, [batch] * 4):
        assert np.allclose(found, expected, atol=1e-5)
