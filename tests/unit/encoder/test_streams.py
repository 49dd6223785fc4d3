"""Lists on several streams: each text its own vector in its own place, whatever the pieces, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.encoder.contract import Tokens
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime import compiled
from munjang.encoder.openvino_runtime.compiled import CompiledRequest
from munjang.testing_models import tiny_model

LENGTHS = [3, 120, 17, 60, 5, 9, 120, 33, 64, 40, 4, 100] * 4


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """One for lists, and one for callers."""
    folder = tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_tokens=128)
    export = tmp_path_factory.mktemp("cache") / "tiny"
    options = {"device": "cpu", "compute_type": "float32", "threads": 2, "export": export}
    return [load_encoder(folder, LoadOptions(**options, interactive=interactive)) for interactive in (False, True)]


def batch_of(lengths):
    return [Tokens(tuple(5 + (7 * text + step) % 90 for step in range(length))) for text, length in enumerate(lengths)]


@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS[:5], [7] * 3, [128], [120] * 9])
@pytest.mark.parametrize("piece", [1, 64, 1024])
def test_a_list_has_the_vectors_of_its_texts_in_their_order(encoders, lengths, piece, monkeypatch):
    monkeypatch.setattr(compiled, "PIECE_TOKENS", piece)
    for_lists, for_callers = encoders
    batch = batch_of(lengths)

    expected = np.concatenate([for_callers.forward([tokens]) for tokens in batch])
    assert np.allclose(for_lists.forward(batch), expected, atol=1e-5)


def test_pieces_run_beside_each_other(encoders, monkeypatch):
    running = watched(monkeypatch)
    encoders[0].forward(batch_of(LENGTHS))

    assert max(running) > 1


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_piece_that_fails_leaves_nothing_running_and_the_encoder_as_it_was(encoders, number, monkeypatch):
    monkeypatch.setattr(compiled, "PIECE_TOKENS", 1)
    batch = batch_of(LENGTHS)
    expected = encoders[0].forward(batch)
    with monkeypatch.context() as failing:
        running = watched(failing, fails_at=number)
        with pytest.raises(MemoryError):
            encoders[0].forward(batch)

    assert running[-1] == 0
    assert np.allclose(encoders[0].forward(batch), expected, atol=1e-5)


def watched(monkeypatch, fails_at=0):
    """How many pieces run, after each begin and end; the end of one of them fails."""
    running, ended = [0], []
    start, wait = CompiledRequest.start, CompiledRequest.wait

    def begin(request, inputs):
        start(request, inputs)
        running.append(running[-1] + 1)

    def end(request):
        found = wait(request)
        running.append(running[-1] - 1)
        ended.append(request)
        if len(ended) == fails_at:
            raise MemoryError
        return found

    monkeypatch.setattr(CompiledRequest, "start", begin)
    monkeypatch.setattr(CompiledRequest, "wait", end)
    return running
