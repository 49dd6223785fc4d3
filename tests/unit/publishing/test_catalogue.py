"""The catalogue is valid, knows what teams use, and tells it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from munjang.kinds import ModelKind
from munjang.publishing.catalogue import Entry, catalogue, find_entry, like

MODELS = catalogue()


def test_it_has_what_korean_teams_use():
    assert {
        *("nlpai-lab/KURE-v1", "BAAI/bge-m3", "dragonkue/BGE-m3-ko", "BM-K/KoSimCSE-roberta", "nlpai-lab/KoE5"),
        *("jhgan/ko-sroberta-multitask", "intfloat/multilingual-e5-large-instruct", "Qwen/Qwen3-Embedding-0.6B"),
        *("google/embeddinggemma-300m", "dragonkue/snowflake-arctic-embed-l-v2.0-ko", "BAAI/bge-reranker-v2-m3"),
    } <= MODELS.keys()


@pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)
def test_an_entry_says_enough_to_publish_by_name(entry):
    assert entry.kind is ModelKind.CROSS_ENCODER or entry.pooling or entry.needs or entry.base
    assert not entry.needs.endswith(".")


def test_a_name_is_found_however_it_is_written():
    assert find_entry("nlpai-lab/kure-V1").name == "nlpai-lab/KURE-v1"
    assert find_entry("KURE-v1") is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("/srv/models/KURE-v1", "nlpai-lab/KURE-v1"),
        ("./kosimcse_roberta", "BM-K/KoSimCSE-roberta"),
        ("cache/models--BM-K--KoSimCSE-roberta/snapshots/0123", "BM-K/KoSimCSE-roberta"),
        ("/data/nlpai-lab/KoE5", "nlpai-lab/KoE5"),
    ],
)
def test_a_folder_is_recognised_by_how_it_is_called(name, meant):
    assert [entry.name for entry in like(name)] == [meant]


@pytest.mark.parametrize("name", ["", "/", ".", "모델", "/srv/model", "my-model"])
def test_another_folder_is_not(name):
    assert like(name) == []


def test_what_to_say_for_a_folder_is_written_as_options():
    assert find_entry("nlpai-lab/KoE5").options() == (
        "--pooling mean --prompts 'query=query: ' --prompts 'document=passage: '"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "no-owner"},
        {"pooling": "average"},
        {"default_prompt": "query"},
        {"kind": "cross-encoder", "pooling": "cls"},
        {"dimensions": 8, "matryoshka_dimensions": [8]},
        {"revision": "main"},
        {"served": False},
        {"licens": "mit"},
    ],
)
def test_what_does_not_fit_together_is_no_entry(fields):
    with pytest.raises(ValidationError):
        Entry.model_validate({"name": "ours/model"} | fields)
