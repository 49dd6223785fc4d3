from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from munjang.encoder.contract import ModelInfo, Prompting
from munjang.errors import ConfigurationError
from munjang.kinds import Role
from munjang.testing import FakeEncoder
from munjang.vectors import Precision
from munjang_trainer.commands.evaluate import show, show_comparison
from munjang_trainer.data.table import Table
from munjang_trainer.evaluation.evaluate import EvaluationOptions, compare, evaluate_model
from munjang_trainer.evaluation.models import LoadedModel
from munjang_trainer.evaluation.results import Comparison
from munjang_trainer.evaluation.retrieval import judgements_of
from munjang_trainer.evaluation.sets import named_sets, standard_sets
from munjang_trainer.plots import plot

TABLE = Table("sts", [(f"문장 {i} 하나", f"문장 {i} 둘", i % 6 / 5) for i in range(40)])
SCOPE = EvaluationOptions(prompt="query", dimensions=(4, 8), precisions=tuple(Precision), resamples=100)


@dataclass
class Fake(FakeEncoder):
    runtime: str = "fake"
    compute_type: str = "float32"


@pytest.fixture
def folder(tmp_path):
    save_file({"weight": np.zeros((3, 5), np.float32), "bias": np.zeros(5, np.float32)}, tmp_path / "m.safetensors")
    return tmp_path


def measured(folder, seed=0, table=TABLE):
    return evaluate_model(LoadedModel(f"모델 {seed}", folder, Fake(seed=seed), 0.01), {"sts": table}, SCOPE)


def test_every_form_that_the_model_has_is_measured(folder):
    results = measured(folder).results
    forms = {name.rpartition(".")[0] for name in results.sets["sts"].figures}
    assert forms == {"", "float16", "bfloat16", "int8", "ubinary", "4d"}
    assert results.sets["sts"].figures["float16.cosine_spearman"] == pytest.approx(
        results.sets["sts"].figures["cosine_spearman"], abs=1e-3
    )


def test_size_speed_and_prompt_are_told(folder):
    results = measured(folder).results
    assert (results.size.parameters, results.size.dimensions, results.prompt) == (20, 8, "query")
    assert results.speed.texts == 80
    assert results.speed.tokens > 80


def test_queries_and_documents_have_the_prompts_of_their_roles(folder):
    rows = [(f"{i}", f"질문 {i}", f"d{i}", f"문서 {i}", 1.0) for i in range(5)]
    encoder = Fake(info=ModelInfo(8, 128, prompts={"query": "질문: ", "passage": "글: "}, int8_scale=1 / 127))
    asked = []
    tokenize = encoder.tokenize
    encoder.tokenize = lambda texts, how=None: asked.append((len(texts), how)) or tokenize(texts, how)
    results = evaluate_model(LoadedModel("모델", folder, encoder, 0.01), {"s": Table("retrieval", rows)}, SCOPE).results
    assert asked == [(5, Prompting("질문: ", Role.QUERY)), (5, Prompting("글: ", Role.DOCUMENT))]
    assert (results.sets["s"].rows, results.sets["s"].main) == (5, "ndcg@10")
    assert "ubinary.recall@5" in results.sets["s"].figures


def test_vectors_that_are_not_finite_give_no_figures(folder):
    encoder = Fake()
    encoder._vector = lambda tokens: np.full(8, np.nan, np.float32)
    results = evaluate_model(LoadedModel("깨진 모델", folder, encoder, 0.01), {"sts": TABLE}, SCOPE).results
    assert (results.finite, results.sets) == (False, {})


def test_two_models_are_compared_on_the_same_contents_only(folder):
    first, second = measured(folder), measured(folder, seed=1)
    comparison = compare(first, second, SCOPE)
    change = comparison.differences["sts.cosine_spearman"]
    pair = (measurement.samples["sts"]["cosine_spearman"] for measurement in (second, first))
    assert change.value == pytest.approx(next(pair).figure() - next(pair).figure())
    assert set(comparison.differences) == {f"sts.{metric}" for metric in first.samples["sts"]}
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison
    with pytest.raises(ConfigurationError, match="different contents of 'sts'"):
        compare(first, measured(folder, table=Table("sts", TABLE.rows[:-1])), SCOPE)


def test_results_are_shown_and_drawn(folder, tmp_path):
    first, second = measured(folder), measured(folder, seed=1)
    console = Console(record=True, width=160)
    show(console, first.results)
    show_comparison(console, compare(first, second, SCOPE))
    text = console.export_text()
    assert "모델 1 against 모델 0" in text
    assert "0.0 M parameters" in text
    plot(tmp_path / "figures" / "plot.png", [first.results, second.results])
    assert (tmp_path / "figures" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_standard_sets_are_those_at_hand(shared_data):
    sets = standard_sets(str(shared_data))
    assert list(sets) == ["korsts-dev", "parakqc", "korquad"]
    korquad = judgements_of(sets["korquad"])
    assert (len(korquad.queries), len(korquad.documents)) == (5774, 961)  # 964 paragraphs, three of them twice


def test_named_files_become_sets(shared_data):
    files = {"sts": ["korsts/sts-dev.tsv"], "nli": ["kornli/xnli.dev.ko.tsv"], "groups": ["paraphrase/paraKQC_v1.txt"]}
    tables = named_sets(str(shared_data), files)
    assert {name: (table.kind, len(table.rows)) for name, table in tables.items()} == {
        "sts-dev": ("sts", 1500),
        "xnli.dev.ko": ("triplets", 1660),
        "paraKQC_v1": ("groups", 9995),
    }
    with pytest.raises(ConfigurationError, match="two files are named"):
        named_sets(str(shared_data), {"sts": ["korsts/sts-dev.tsv"] * 2})
