"""A forward ends early when another thread says so, and the encoder gives the same vectors afterwards."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from munjang.encoder.contract import Cancellation, ForwardCancelled, Tokens
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime import compiled
from munjang.encoder.openvino_runtime.compiled import CompiledRequest
from munjang.testing import FakeEncoder
from munjang.testing_models import tiny_model

LONG = [Tokens(tuple(5 + step % 90 for step in range(4096)))]
SHORT = [Tokens((5, 6, 7, 8)), Tokens((9, 10))]


class FromWithin(Cancellation):
    """Is cancelled as soon as a runtime has said how it is stopped: its forward is about to begin then."""

    @contextmanager
    def stopping(self, stop):
        with super().stopping(stop):
            self.cancel()
            yield


def cancelled():
    cancellation = Cancellation()
    cancellation.cancel()
    return cancellation


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_tokens=4096, dimensions=64)
    export = tmp_path_factory.mktemp("cache") / "tiny"
    options = {"device": "cpu", "compute_type": "float32", "export": export}

    def make(**more):
        return load_encoder(folder, LoadOptions(**{**options, "threads": 2, **more}))

    return make


@pytest.fixture(scope="module")
def encoder(load):
    return load(interactive=True)


def test_what_is_registered_is_called_once_and_not_after_the_exit():
    calls = []
    before, after = Cancellation(), Cancellation()
    with before.stopping(lambda: calls.append(1)):
        before.cancel()
        before.cancel()
    with after.stopping(lambda: calls.append(2)):
        pass
    after.cancel()

    assert calls == [1]
    assert before.cancelled
    assert after.cancelled


def test_a_runtime_that_comes_too_late_is_told_so():
    with pytest.raises(ForwardCancelled), cancelled().stopping(lambda: None):
        pytest.fail("it began")


def test_one_that_is_not_cancelled_changes_nothing(encoder):
    assert np.array_equal(encoder.forward(SHORT, cancellation=Cancellation()), encoder.forward(SHORT))


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("interactive", [True, False])
@pytest.mark.parametrize("share", [True, False])
def test_a_forward_that_was_cancelled_before_does_not_run(load, runtime, interactive, share):
    encoder = load(runtime=runtime, interactive=interactive)
    with pytest.raises(ForwardCancelled):
        encoder.forward(SHORT, share=share, cancellation=cancelled())

    assert encoder.forward(SHORT, share=share).shape == (2, 64)


@pytest.mark.parametrize("before", [SHORT, [Tokens((7,) * 500)] * 2, LONG])
def test_a_long_forward_of_openvino_ends_in_its_midst_and_the_next_ones_are_right(encoder, before):
    expected = encoder.forward(before)
    for _ in range(5):
        with pytest.raises(ForwardCancelled):
            encoder.forward(LONG, cancellation=FromWithin())
        assert np.allclose(encoder.forward(before), expected, atol=1e-5)


def test_a_request_that_stays_unsound_after_a_cancel_is_replaced(load, monkeypatch):
    encoder = load(interactive=True)
    expected = encoder.forward(SHORT)
    run = CompiledRequest.run
    broken = []

    def unsound(request, inputs, cancellation=None):
        if cancellation is not None:
            broken.append(request)
        return run(request, inputs, cancellation) * (np.nan if request in broken else 1)

    monkeypatch.setattr(CompiledRequest, "run", unsound)
    with pytest.raises(ForwardCancelled):
        encoder.forward(LONG, cancellation=FromWithin())

    assert np.allclose(encoder.forward(SHORT), expected, atol=1e-5)


@pytest.mark.parametrize(("interactive", "share"), [(True, True), (False, False)])
def test_forwards_on_streams_end_at_the_next_frame(load, interactive, share, monkeypatch):
    encoder, cancellation, ran = load(interactive=interactive), Cancellation(), []
    monkeypatch.setattr(compiled, "PIECE_TOKENS", 1)
    for name in ("run", "start"):
        method = getattr(CompiledRequest, name)

        def watched(request, inputs, *more, method=method):
            ran.append(inputs["input_ids"].shape)
            cancellation.cancel()
            return method(request, inputs, *more)

        monkeypatch.setattr(CompiledRequest, name, watched)
    with pytest.raises(ForwardCancelled):
        encoder.forward([*LONG, *[Tokens((5,) * 1000)] * 3], share=share, cancellation=cancellation)
    assert len(ran) == 1


def test_a_forward_in_torch_ends_between_its_layers(load):
    encoder, cancellation, layers = load(runtime="torch"), Cancellation(), []
    for layer in encoder._forward._modules[0].model.encoder.layer:
        layer.register_forward_hook(lambda *_: layers.append(1) or cancellation.cancel())

    with pytest.raises(ForwardCancelled):
        encoder.forward(SHORT, cancellation=cancellation)
    assert layers == [1]


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_shared_forwards_run_beside_one_with_all_threads_with_the_vectors_of_their_own(load, runtime):
    encoder = load(runtime=runtime, interactive=True)
    assert encoder.streams == 2
    jobs = [(LONG, False), (SHORT, True), ([Tokens((7,) * 300)] * 2, True)] * 3
    with ThreadPoolExecutor(len(jobs)) as threads:
        found = list(threads.map(lambda job: encoder.forward(job[0], share=job[1]), jobs))

    for rows, (batch, _) in zip(found, jobs, strict=True):
        assert np.allclose(rows, encoder.forward(batch), atol=1e-5)


def test_the_fake_ends_where_it_waits():
    encoder, cancellation = FakeEncoder(), Cancellation()
    encoder.gate.clear()
    threading.Timer(0.05, cancellation.cancel).start()
    with pytest.raises(ForwardCancelled):
        encoder.forward(encoder.tokenize(["문장"]), cancellation=cancellation)
    encoder.gate.set()
    assert encoder.forward(encoder.tokenize(["문장"])).shape == (1, 8)
