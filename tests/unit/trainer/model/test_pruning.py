from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from munjang.errors import ConfigurationError
from munjang_trainer.model.pruning import evenly_spaced, kept_ids, pruned_tokenizer


def built(model, **parts):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = parts.get("splitter", pre_tokenizers.WhitespaceSplit())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tokenizer.add_special_tokens(["<s>", "<unk>"])
    return tokenizer


def unigram():
    pieces = [
        ("쓸모없다", -1.0),
        ("<unk>", 0.0),
        ("<s>", 0.0),
        ("▁안녕", -2.0),
        ("하세요", -3.0),
        ("안", -5.0),
        ("꽃길", -9.0),
    ]
    splitter = pre_tokenizers.Metaspace()
    return built(models.Unigram(pieces, unk_id=1, byte_fallback=False), splitter=splitter)


def wordpiece():
    pieces = ["쓸모", "<unk>", "<s>", "안녕", "##하세요", "안", "##녕"]
    return built(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))


def bpe():
    vocabulary = ["쓸", "모", "쓸모", "<unk>", "<s>", "안", "녕", "안녕", "하", "안녕하", "xy"]
    merges = [("쓸", "모"), ("안", "녕"), ("안녕", "하")]
    return built(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, merges, unk_token="<unk>"))


@pytest.mark.parametrize(
    ("make", "text", "gone"),
    [(unigram, "안녕하세요 안", "쓸모없다"), (wordpiece, "안녕하세요 안", "쓸모"), (bpe, "안녕하 안", "xy")],
)
def test_a_text_of_the_corpus_keeps_its_pieces(make, text, gone):
    tokenizer = make()
    content = json.loads(tokenizer.to_str())
    kept = kept_ids(content, tokenizer.encode(text).ids)
    smaller = Tokenizer.from_str(json.dumps(pruned_tokenizer(content, kept)))
    before, after = tokenizer.encode(text), smaller.encode(text)
    assert after.tokens == before.tokens
    assert [kept[number] for number in after.ids] == before.ids
    assert smaller.get_vocab_size() < tokenizer.get_vocab_size()
    assert smaller.token_to_id(gone) is None


def test_the_least_likely_piece_stays_for_the_cost_of_unknown_characters():
    tokenizer = unigram()
    content = json.loads(tokenizer.to_str())
    assert tokenizer.token_to_id("꽃길") in kept_ids(content, [])


def test_a_used_piece_keeps_what_it_is_merged_from():
    content = json.loads(bpe().to_str())
    names = {number: piece for piece, number in content["model"]["vocab"].items()}
    kept = {names[number] for number in kept_ids(content, [9])}
    assert {"안", "녕", "안녕", "하", "안녕하"} <= kept
    assert "쓸모" not in kept


def test_berts_own_post_processor_is_renumbered_too():
    tokenizer = wordpiece()
    tokenizer.post_processor = processors.BertProcessing(("<unk>", 1), ("<s>", 2))
    content = json.loads(tokenizer.to_str())
    smaller = pruned_tokenizer(content, kept_ids(content, [3]))
    assert smaller["post_processor"]["sep"] == ["<unk>", 0]
    assert smaller["post_processor"]["cls"] == ["<s>", 1]


def test_other_tokenizers_are_refused():
    content = {"model": {"type": "WordLevel", "vocab": {"가": 0}}}
    with pytest.raises(ConfigurationError, match="WordLevel"):
        pruned_tokenizer(content, [0])


@pytest.mark.parametrize(("total", "count", "kept"), [(12, 6, [0, 2, 4, 7, 9, 11]), (12, 1, [0]), (3, 3, [0, 1, 2])])
def test_layers_are_kept_evenly_from_first_to_last(total, count, kept):
    assert evenly_spaced(total, count) == kept
