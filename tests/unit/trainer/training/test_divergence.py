"""Training ends at a weight that is not finite; how large a finite one is does not matter."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from munjang_trainer.training.callbacks import JournalCallback, read_journal
from munjang_trainer.training.trainer import StopOnDivergence, TrainingDiverged


def end_of_step(weight):
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight[1, 2] = weight
    StopOnDivergence("one").on_step_end(None, SimpleNamespace(global_step=7), None, model=model)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_ends_training_and_the_step_is_named(weight):
    with pytest.raises(TrainingDiverged, match="in stage 'one' at step 7: a weight is not finite"):
        end_of_step(weight)


@pytest.mark.parametrize("weight", [0.0, 1e30, -3e38])
def test_a_weight_may_be_as_large_as_float32_can_hold(weight):
    end_of_step(weight)


def test_a_journal_has_null_for_what_is_not_finite(tmp_path):
    state = SimpleNamespace(is_world_process_zero=True, global_step=3, epoch=0.5)
    JournalCallback(tmp_path / "j", "one").on_log(None, state, None, logs={"loss": 1.0, "grad_norm": float("nan")})
    (line,) = (tmp_path / "j").read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["grad_norm"] is None
    assert read_journal(tmp_path / "j")[0]["loss"] == 1.0
