"""A query and a document become the tokens that the model's own tokenizer makes of them, at every limit."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import RobertaProcessing
from transformers import AutoTokenizer

from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.pairs import PairFrame, longest_first
from munjang.errors import WrongKind
from munjang.kinds import ModelKind
from munjang.testing_models import tiny_cross_encoder

TEXTS = [
    "가",
    "비가 온다.",
    "한 남자가 기타를 치며 노래한다.",
    "고양이가 창가에서 졸고 있다. " * 3,
    "생일 축하해!! 🎉 " * 12,
]
PAIRS = [(query, document) for query in TEXTS for document in TEXTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_cross_encoder(tmp_path_factory.mktemp("pairs") / "m")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("limit", [8, 9, 33, 64])
def test_tokens_are_those_of_the_models_own_tokenizer(folder, tmp_path, limit, side):
    own = AutoTokenizer.from_pretrained(folder, truncation_side=side, model_max_length=limit)
    model = tiny_cross_encoder(tmp_path / "m", max_tokens=limit)
    own.save_pretrained(model)
    encoder = load_encoder(model, LoadOptions(device="cpu", runtime="torch", kind=ModelKind.CROSS_ENCODER))
    found = encoder.tokenize_pairs(PAIRS)
    expected = own([list(pair) for pair in PAIRS], truncation="longest_first", max_length=limit)
    whole = own([list(pair) for pair in PAIRS])["input_ids"]
    assert [list(tokens.ids) for tokens in found] == expected["input_ids"]
    assert [list(tokens.type_ids) for tokens in found] == expected["token_type_ids"]
    assert [tokens.truncated for tokens in found] == [len(ids) > limit for ids in whole]


@pytest.mark.parametrize("room", range(2, 14))
def test_the_longer_text_is_cut_first_as_the_tokenizers_library_does(folder, room):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(room + 3)
    for query in range(1, 14):
        for document in range(1, 14):
            owners = tokenizer.encode("가 " * query, "나 " * document).sequence_ids
            assert longest_first(query, document, room) == (owners.count(0), owners.count(1)), (query, document)


def test_a_frame_of_four_special_tokens_is_read_off_the_tokenizer(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    frame = PairFrame.of(tokenizer)
    assert frame.special == ((2,), (3, 3), (3,))
    assert (frame.type_of_query, frame.type_of_document) == (0, 0)


def test_decomposed_hangul_is_composed_and_a_query_needs_no_repeating(folder):
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="torch", kind=ModelKind.CROSS_ENCODER))
    composed, decomposed = encoder.tokenize_pairs([("한글", "각"), ("한글", "각")])
    assert composed == decomposed
    assert encoder.tokenize_pairs([]) == []


def test_a_dense_model_has_no_pairs(tiny_folder):
    encoder = load_encoder(tiny_folder, LoadOptions(device="cpu", runtime="torch"))
    with pytest.raises(WrongKind, match="dense"):
        encoder.tokenize_pairs([("가", "나")])
