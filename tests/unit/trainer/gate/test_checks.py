from __future__ import annotations

import math

import numpy as np
import pytest
from safetensors.numpy import save_file

from munjang_trainer.evaluation.metrics import Interval
from munjang_trainer.evaluation.results import Comparison, Results, SetResult, Size, Speed
from munjang_trainer.gate import check_dimensions, check_files, check_limits, check_not_worse, check_reproduced
from munjang_trainer.recipe.schema import GateConfig


def results(spearman=0.85, dimensions=384, finite=True):
    figures = {"cosine_spearman": spearman, "int8.cosine_spearman": spearman}
    dev = SetResult(
        kind="sts",
        rows=10,
        sha256="x",
        main="cosine_spearman",
        interval=Interval(spearman, spearman - 0.01, spearman + 0.01),
        figures=figures,
    )
    speed = Speed(
        texts=1, tokens=1, seconds=1, texts_per_second=1, tokens_per_second=1, runtime="torch", compute_type="float32"
    )
    size = Size(dimensions=dimensions, max_tokens=128, parameters=1, bytes_on_disk=1)
    sets = {"dev": dev} if finite else {}
    return Results(model="모델", prompt="", finite=finite, sets=sets, speed=speed, size=size)


def comparison(low, high, **sizes):
    differences = {"dev.cosine_spearman": Interval((low + high) / 2, low, high)}
    first = results(dimensions=sizes.get("serving", 384))
    return Comparison(first=first, second=results(), differences=differences, confidence=0.95)


def test_figures_of_training_must_come_again():
    assert check_reproduced(results(0.85), {"dev.cosine_spearman": 0.85009}, 1e-4) == []
    (reason,) = check_reproduced(results(0.85), {"dev.cosine_spearman": 0.8502}, 1e-4)
    assert "dev.cosine_spearman is 0.850000" in reason
    assert "0.850200 in training" in reason


def test_one_row_may_change_its_place_in_a_figure_that_counts_rows():
    fresh = results()
    fresh.sets["held-out"] = fresh.sets["dev"].model_copy(
        update={"kind": "groups", "rows": 1000, "main": "ndcg@10", "figures": {"mrr@10": 0.8455}}
    )
    assert check_reproduced(fresh, {"held-out.mrr@10": 0.8450}, 1e-4) == []
    (reason,) = check_reproduced(fresh, {"held-out.mrr@10": 0.8470}, 1e-4)
    assert reason.endswith("but was 0.847000 in training: they differ by more than 0.0011")


def test_a_figure_that_is_missing_or_no_number_is_refused():
    assert len(check_reproduced(results(), {"test.cosine_spearman": 0.8}, 1e-4)) == 1
    assert len(check_reproduced(results(), {"dev.cosine_spearman": math.nan}, 1e-4)) == 1


def test_vectors_that_are_not_finite_are_refused():
    assert check_reproduced(results(finite=False), {}, 1e-4) == [
        "the saved model makes vectors that are not finite (NaN or infinity)"
    ]


def test_demanded_figures_must_be_reached():
    assert check_limits(results(0.85), GateConfig(minimum={"dev.cosine_spearman": 0.85})) == []
    (reason,) = check_limits(results(0.85), GateConfig(minimum={"dev.cosine_spearman": 0.8564}))
    assert reason == "dev.cosine_spearman is 0.8500, and at least 0.8564 is demanded"


def test_a_maximum_may_not_be_exceeded():
    assert check_limits(results(0.85), GateConfig(maximum={"dev.cosine_spearman": 0.85})) == []
    (reason,) = check_limits(results(0.85), GateConfig(maximum={"dev.cosine_spearman": 0.4}))
    assert reason == "dev.cosine_spearman is 0.8500, and at most 0.4000 is allowed"


def test_a_version_whose_sts_rises_and_whose_retrieval_falls_is_refused():
    changed = comparison(0.01, 0.02)
    changed.differences["korquad.ndcg@10"] = Interval(-0.15, -0.17, -0.13)
    changed.second.sets["korquad"] = changed.second.sets["dev"].model_copy(update={"main": "ndcg@10"})
    (reason,) = check_not_worse(changed, GateConfig(margin=0.005))
    assert reason.startswith("korquad.ndcg@10 is 0.1500 below that of 모델")


def test_a_metric_can_have_a_margin_of_its_own():
    changed = comparison(0.01, 0.02)
    changed.differences["dev.cosine_pearson"] = Interval(-0.015, -0.02, -0.01)
    assert check_not_worse(changed, GateConfig()) == []
    assert check_not_worse(changed, GateConfig(margins={"dev.cosine_pearson": 0.01})) == []
    (reason,) = check_not_worse(changed, GateConfig(margins={"dev.cosine_pearson": 0.005}))
    assert "dev.cosine_pearson" in reason


@pytest.mark.parametrize(
    ("low", "high", "margin", "passes"),
    [
        (-0.02, 0.01, 0.0, True),  # worse by noise only
        (-0.02, -0.001, 0.0, False),
        (-0.02, -0.001, 0.005, True),  # worse, but perhaps within the margin
        (-0.02, -0.006, 0.005, False),
        (0.01, 0.02, 0.0, True),
    ],
)
def test_what_is_worse_by_the_interval_is_refused(low, high, margin, passes):
    reasons = check_not_worse(comparison(low, high), GateConfig(margin=margin))
    assert (reasons == []) is passes
    assert all("lies wholly below the margin" in reason for reason in reasons)


def test_only_the_figures_that_are_named_are_compared():
    part = GateConfig(metrics=("other.accuracy",))
    assert check_not_worse(comparison(-0.02, -0.01), part) == [
        "other.accuracy is to be compared, but is no metric of a set"
    ]


def test_another_length_of_vectors_is_refused():
    assert check_dimensions(comparison(0, 0.1)) == []
    assert check_dimensions(comparison(0, 0.1, serving=768)) == ["vectors have 384 dimensions, those of 모델 have 768"]


def test_pickles_and_values_that_are_not_finite_are_refused(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    save_file({"weight": np.array([1.0, np.nan], np.float32)}, tmp_path / "model.safetensors")
    assert any("not finite" in reason for reason in check_files(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    assert any("pytorch_model.bin" in reason for reason in check_files(tmp_path))
    assert check_files(tmp_path / "nothing")
