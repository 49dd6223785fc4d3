from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import cos_sim

from munjang.kinds import Role
from munjang_trainer.data.table import Table
from munjang_trainer.evaluation.metrics import compute_samples, figures_of
from munjang_trainer.evaluation.retrieval import groups_as_judgements, judgements_of, measure, nearest


class Known:
    """What the library's evaluator takes for a model: vectors of texts that are known."""

    similarity_fn_name = "cosine"
    model_card_data = None

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_query(self, texts, **_):
        return torch.tensor(np.array([self.vectors[text] for text in texts]))

    encode_document = encode_query


def test_the_measures_are_those_of_sentence_transformers():
    draw = np.random.default_rng(0)
    queries = [f"질문 {i}" for i in range(40)]
    documents = [f"문서 {i}" for i in range(60)]
    vectors = {text: draw.standard_normal(8).astype(np.float32) for text in queries + documents}
    relevant = {i: draw.choice(60, draw.integers(1, 14), replace=False).tolist() for i in range(40)}
    rows = [(f"q{i}", queries[i], f"d{j}", documents[j], 1.0) for i, wanted in relevant.items() for j in wanted]
    rows += [("", "", f"d{j}", documents[j], 0.0) for j in range(60)]
    ours = figures_of(
        compute_samples(Table("retrieval", rows), lambda texts, role: np.array([vectors[text] for text in texts]))
    )
    theirs = InformationRetrievalEvaluator(
        {str(i): text for i, text in enumerate(queries)},
        {str(j): text for j, text in enumerate(documents)},
        {str(i): {str(j) for j in wanted} for i, wanted in relevant.items()},
        precision_recall_at_k=[1, 5, 10],
        write_csv=False,
        score_functions={"cosine": cos_sim},
    ).compute_metrices(Known(vectors))["cosine"]
    expected = {"ndcg@10": theirs["ndcg@k"][10], "mrr@10": theirs["mrr@k"][10], "accuracy@1": theirs["accuracy@k"][1]}
    expected |= {f"recall@{k}": theirs["recall@k"][k] for k in (1, 5, 10)}
    assert ours == pytest.approx(expected)


def test_grades_are_gains_and_a_query_without_an_answer_is_left_out():
    figures = {
        name: values.tolist()
        for name, values in measure(np.array([[0, 1, 2], [0, 1, 2]]), [{1: 2.0, 2: 1.0}, {}]).items()
    }
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert figures["ndcg@10"] == pytest.approx([(2 * second + third) / (2 + second)])
    assert (figures["mrr@10"], figures["recall@1"], figures["recall@5"]) == ([0.5], [0.0], [1.0])


def test_recall_at_one_is_never_above_recall_at_ten():
    texts = [f"글 {i}" for i in range(21)]
    judged = groups_as_judgements(texts, ["모두"] * 21)
    vectors = np.random.default_rng(1).standard_normal((21, 4)).astype(np.float32)
    figures = measure(nearest(vectors, vectors, among_themselves=True), judged.relevant)
    assert set(figures["recall@1"]) == {1 / 20}
    assert set(figures["recall@10"]) == {10 / 20}
    assert set(figures["accuracy@1"]) == {1.0}


def test_a_text_does_not_find_itself_nor_one_that_reads_the_same():
    judged = groups_as_judgements(["같은 글", "같은 글", "다른 글", "외톨이"], ["a", "b", "a", "c"])
    assert (judged.documents, judged.relevant) == (["같은 글", "다른 글", "외톨이"], [{1: 1.0}, {0: 1.0}, {}])
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    assert nearest(vectors, vectors, among_themselves=True)[:, 0].tolist() == [1, 0, 1]


def test_documents_are_searched_once_each_and_queries_apart_from_them():
    table = Table(
        "retrieval",
        [
            ("1", "무엇인가?", "a", "답이다.", 1.0),
            ("2", "누구인가?", "a", "답이다.", 1.0),
            ("2", "누구인가?", "b", "아니다.", 0.0),
            ("", "", "c", "딴 글.", 0.0),
        ],
    )
    judged = judgements_of(table)
    assert judged.documents == ["답이다.", "아니다.", "딴 글."]
    assert judged.relevant == [{0: 1.0}, {0: 1.0}]
    roles = {role for role, _ in table.texts_by_role()}
    assert roles == {Role.QUERY, Role.DOCUMENT}
    assert "" not in {text for _, text in table.texts_by_role()}
