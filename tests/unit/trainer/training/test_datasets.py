from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn

from munjang.kinds import Role
from munjang_trainer.training.datasets import Teacher, teach
from munjang_trainer.training.prompts import prompt_of
from munjang_trainer.training.ranking_distillation import RankingDistillLoss


class Model(nn.Module):
    """Encodes a text as the vector that is known of its prompt and text; remembers what it was asked."""

    default_prompt_name = None

    def __init__(self, prompts):
        super().__init__()
        self.prompts = prompts

    def encode(self, texts, prompt="", **_):
        return np.array([[len(prompt), len(text), 1] for text in texts], np.float32)

    def forward(self, features):
        return {"sentence_embedding": features}


def test_columns_have_the_prompts_of_their_roles():
    model = Model({"query": "질문: ", "document": "글: "})
    assert (prompt_of(model, Role.QUERY), prompt_of(model, Role.DOCUMENT), prompt_of(model, None)) == (
        "질문: ",
        "글: ",
        "",
    )
    model.default_prompt_name = "query"
    assert prompt_of(model, None) == "질문: "


@pytest.mark.parametrize("loss", ["distill-ranking", "distill"])
def test_a_teacher_reads_each_column_by_its_role(loss):
    teacher = Teacher(Model({"query": "12", "document": "1234"}), "")
    data = Dataset.from_dict({"anchor": ["가"], "positive": ["나나"], "negative_1": ["다다다"]})
    roles = {"anchor": Role.QUERY, "positive": Role.DOCUMENT, "negative": Role.DOCUMENT}
    assert teach(data, teacher, roles, loss)["label"][0] == [[2, 1, 1], [4, 2, 1], [4, 3, 1]]


def test_without_roles_each_text_is_taught_once():
    data = Dataset.from_dict({"anchor": ["가", "가"], "positive": ["나나", "가"]})
    taught = teach(data, Teacher(Model({}), "12"), {}, "distill")
    assert (taught["text"][:], taught["label"][:]) == (["가", "나나"], [[2, 1, 1], [2, 2, 1]])


def test_the_margin_is_the_difference_of_the_teachers_cosines():
    data = Dataset.from_dict({"anchor": ["가"], "positive": ["나"], "negative_1": ["다다다다"], "negative_2": ["라"]})
    (margins,) = teach(data, Teacher(Model({}), ""), {}, "margin-mse")["label"][:]
    assert margins == pytest.approx([1 - 5 / (17 * 2) ** 0.5, 0], abs=1e-6)


def test_the_ranking_of_the_teacher_costs_nothing_and_another_one_does():
    draw = torch.Generator().manual_seed(0)
    columns = [torch.randn(6, 8, generator=draw) for _ in range(3)]
    labels = torch.stack(columns, dim=1)
    loss = RankingDistillLoss(Model({}), 20.0, 20.0, 0.0)
    assert float(loss(columns, labels)) == pytest.approx(0, abs=1e-5)
    turned = torch.linalg.qr(torch.randn(8, 8, generator=draw))[0]
    assert float(loss([column @ turned for column in columns], labels)) == pytest.approx(0, abs=1e-4)
    assert float(loss([columns[0], columns[2], columns[1]], labels)) > 0.1
    with_contrast = RankingDistillLoss(Model({}), 20.0, 20.0, 1.0)
    assert float(with_contrast(columns, labels)) > 0.1
