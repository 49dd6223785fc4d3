"""Which words are put before a text: by name, by text, by role. Roles agree with sentence-transformers."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from munjang.encoder.contract import ModelInfo, Prompting
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting, promptings
from munjang.errors import InvalidOption, InvalidText, UnknownPrompt
from munjang.kinds import Role
from munjang.testing_models import tiny_model

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["한국어 문장이 벡터가 됩니다.", "각", "mixed 언어 text 123"]

PROMPTS = {"query": "질문: ", "passage": "글: ", "요약": "요약하면 "}


def model(default: str = "", **prompts: str) -> ModelInfo:
    return ModelInfo(8, 128, prompts=prompts, default_prompt=default)


def test_without_any_choice_the_default_prompt_applies() -> None:
    assert prompting(model(**PROMPTS)) == Prompting()
    assert prompting(model("요약", **PROMPTS)) == Prompting("요약하면 ")


def test_a_name_is_exact() -> None:
    assert prompting(model(**PROMPTS), prompt_name="passage") == Prompting("글: ")
    for name in ("Query", "document", "que"):
        with pytest.raises(UnknownPrompt, match="passage, query, 요약") as caught:
            prompting(model(**PROMPTS), prompt_name=name)
        assert caught.value.field == "prompt_name"


@pytest.mark.parametrize(
    ("prompts", "role", "expected"),
    [
        (PROMPTS, Role.QUERY, "질문: "),
        (PROMPTS, Role.DOCUMENT, "글: "),
        ({"passage": "글: ", "document": "문서: "}, Role.DOCUMENT, "문서: "),
        ({"passage": "글: ", "document": ""}, Role.DOCUMENT, ""),
        ({"corpus": "말뭉치: "}, Role.DOCUMENT, "말뭉치: "),
        ({"passage": "글: "}, Role.QUERY, ""),
        ({}, Role.DOCUMENT, ""),
    ],
)
def test_a_role_takes_its_own_prompt_or_none(prompts: dict[str, str], role: Role, expected: str) -> None:
    assert prompting(model(**prompts), role=role) == Prompting(expected, role)


def test_a_role_never_falls_back_on_the_default_prompt() -> None:
    assert prompting(model("passage", passage="글: "), role=Role.QUERY) == Prompting("", Role.QUERY)


def test_a_prompt_takes_the_place_of_the_roles_and_the_route_stays() -> None:
    info = model(**PROMPTS)
    assert prompting(info, prompt_name="요약", role=Role.QUERY) == Prompting("요약하면 ", Role.QUERY)
    assert prompting(info, prompt="찾기: ", role=Role.QUERY) == Prompting("찾기: ", Role.QUERY)
    assert prompting(info, prompt="", role=Role.QUERY) == Prompting("", Role.QUERY)


def test_an_empty_prompt_is_none_at_all_where_the_model_has_a_default() -> None:
    assert prompting(model("query", **PROMPTS), prompt="") == Prompting()


def test_a_name_and_a_text_contradict_each_other() -> None:
    with pytest.raises(InvalidOption, match="leave one of them out") as caught:
        prompting(model(**PROMPTS), prompt_name="query", prompt="")
    assert caught.value.field == "prompt"


def test_a_prompts_text_is_composed_and_must_be_unicode() -> None:
    assert prompting(model(), prompt=unicodedata.normalize("NFD", "질문: ")) == Prompting("질문: ")
    with pytest.raises(InvalidText, match="character 1") as caught:
        prompting(model(), prompt="가\ud83e")
    assert caught.value.field == "prompt"


def test_every_prompt_with_words_is_a_way_to_put_a_text() -> None:
    assert promptings({"query": "질문: ", "document": ""}) == [Prompting(), Prompting("질문: ")]


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize(
    "prompts",
    [
        {"query": "질문: ", "document": "문서: "},
        {"query": "질문: ", "passage": "글: "},
        {"document": "문서: "},
        {"x": "y: "},
    ],
    ids=str,
)
def test_vectors_by_role_are_those_of_sentence_transformers(
    tmp_path: Path, prompts: dict[str, str], include_prompt: bool
) -> None:
    folder = tiny_model(tmp_path / "m", prompts=prompts, include_prompt=include_prompt)
    reference = SentenceTransformer(str(folder), device="cpu")
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))
    for role, its_own in ((Role.QUERY, reference.encode_query), (Role.DOCUMENT, reference.encode_document)):
        by_role = encode(encoder, TEXTS, prompting(encoder.info, role=role))
        by_text = encode(encoder, TEXTS, prompting(encoder.info, prompt="지시문 - ", role=role))
        assert least(by_role, its_own(TEXTS)) >= 0.9999
        assert least(by_text, its_own(TEXTS, prompt="지시문 - ")) >= 0.9999


def least(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.vecdot(normalized(left), normalized(right)).min())
