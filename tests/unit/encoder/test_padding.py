"""A vector is that of its text alone, also where padding or what ran before would change it."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.testing_models import tiny_model

TEXTS = [
    "밀짚모자를 쓴 남자가 드럼을 쳤다.",
    "각",
    "띄어쓰기가 있든 없든 " * 40,
    "비가 온다 " * 9,
    "ㅋㅋ 🥁 drum",
    "a",
    "한다 " * 40,
]
MIXING = {"convbert": {"embedding_size": 32}, "fnet": {}}
BLOCKS = {"attention_type": "block_sparse", "block_size": 8, "num_random_blocks": 1}
"""A BigBird that looks at all of a text of up to 56 tokens."""


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


def reference(folder, texts):
    """By a model that has run nothing before, each text by itself."""
    return np.concatenate([SentenceTransformer(str(folder), device="cpu").encode([text]) for text in texts])


@pytest.mark.parametrize("architecture", MIXING)
def test_a_model_that_mixes_in_padding_runs_texts_one_by_one_and_says_so(tmp_path, architecture, caplog):
    folder = tiny_model(tmp_path / "m", architecture=architecture, config=MIXING[architecture])
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    assert "texts run one by one" in caplog.text
    assert cosines(encode(encoder, TEXTS), reference(folder, TEXTS)).min() >= 0.9999
    assert encoder.computed([5, 7, 64]) == 5 + 7 + 64


def test_blocks_of_attention_begin_at_a_length_and_not_with_a_history(tmp_path):
    folder = tiny_model(tmp_path / "m", architecture="big_bird", max_tokens=128, config=BLOCKS)
    encoder = load_encoder(folder, LoadOptions(device="cpu"))
    expected = reference(folder, TEXTS)

    assert encoder.runtime == "torch"
    assert [len(tokens) > 56 for tokens in encoder.tokenize(TEXTS)].count(True) == 2
    for texts in (TEXTS, TEXTS[::-1]):
        order = [TEXTS.index(text) for text in texts]
        assert cosines(encode(encoder, texts), expected[order]).min() >= 0.9999
        alone = np.concatenate([encode(encoder, [text]) for text in texts])
        assert cosines(alone, expected[order]).min() >= 0.9999


def test_a_text_that_never_needs_blocks_is_packed(tmp_path):
    folder = tiny_model(tmp_path / "m", architecture="big_bird", max_tokens=48, config=BLOCKS)
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", compute_type="float32"))

    assert encoder.packs
    assert cosines(encode(encoder, TEXTS), reference(folder, TEXTS)).min() >= 0.9999


def test_positions_that_change_with_the_longest_text_of_a_forward_do_not_change_others(tmp_path):
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    config = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 32, "rope_parameters": rope}
    folder = tiny_model(tmp_path / "m", architecture="llama", heads=4, max_tokens=128, config=config)
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    assert encoder.runtime == "torch"
    assert cosines(encode(encoder, TEXTS), reference(folder, TEXTS)).min() >= 0.9999


def test_a_gpt2_whose_heads_have_no_fixed_number_in_its_graph_is_packed(tmp_path):
    config = {"n_positions": 128}
    folder = tiny_model(tmp_path / "m", architecture="gpt2", heads=4, config=config, padding_side="left")
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", compute_type="float32"))

    assert encoder.packs
    assert cosines(encode(encoder, TEXTS), reference(folder, TEXTS)).min() >= 0.9999
