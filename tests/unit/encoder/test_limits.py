"""No encoder is made of a model whose tokenizer gives what its tables lack, and none reads past its positions."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from munjang.encoder.encode import LONGEST, check_vector, encode, longest_text
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.torch_runtime import limits
from munjang.encoder.torch_runtime.limits import DEFAULT_LIMIT, settle_limits, stated_limits
from munjang.errors import ModelLoadFailed
from munjang.testing import FakeEncoder
from munjang.testing_models import _tokenizer, tiny_model

ROWS = len(_tokenizer(64))


def change(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def tokenizer_file(folder, edit):
    content = json.loads((folder / "tokenizer.json").read_text())
    edit(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))


def add_token(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["훈민정음해례본"])
    tokenizer.save_pretrained(folder)


def add_special_token(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[주소]"]})
    tokenizer.save_pretrained(folder)


def move_a_word(folder):
    tokenizer_file(folder, lambda content: content["model"]["vocab"].update({"힣": ROWS}))


def move_the_template(folder):
    def edit(content):
        content["post_processor"]["special_tokens"]["[SEP]"]["ids"] = [ROWS]

    tokenizer_file(folder, edit)


@pytest.mark.parametrize("runtime", ["torch", "openvino", "auto"])
@pytest.mark.parametrize("spoil", [add_token, add_special_token, move_a_word, move_the_template])
def test_an_id_beyond_the_embeddings_is_refused_with_both_figures(tmp_path, spoil, runtime):
    folder = tiny_model(tmp_path / "m")
    spoil(folder)
    with pytest.raises(ModelLoadFailed, match=rf"tokenizer\.json gives .* the id {ROWS}, .* {ROWS} rows"):
        load_encoder(folder, LoadOptions(device="cpu", runtime=runtime))


@pytest.mark.parametrize("architecture", ["roberta", "mpnet", "modernbert", "t5"])
def test_an_id_beyond_the_embeddings_is_refused_of_every_architecture(tmp_path, architecture):
    folder = t5(tmp_path) if architecture == "t5" else tiny_model(tmp_path / "m", architecture=architecture)
    add_token(folder)
    with pytest.raises(ModelLoadFailed, match=f"the id {ROWS}"):
        load_encoder(folder, LoadOptions(device="cpu"))


def test_an_id_beyond_static_embeddings_is_refused(tmp_path):
    static = StaticEmbedding(_tokenizer(64).backend_tokenizer, embedding_dim=16)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "m"))
    core = Tokenizer.from_file(str(tmp_path / "m/tokenizer.json"))
    core.add_tokens(["훈민정음해례본"])
    core.save(str(tmp_path / "m/tokenizer.json"))
    with pytest.raises(ModelLoadFailed, match=f"'훈민정음해례본' the id {ROWS}"):
        load_encoder(tmp_path / "m", LoadOptions(device="cpu"))


@pytest.mark.parametrize(("architecture", "types"), [("bert", 2), ("electra", 2)])
def test_a_token_type_beyond_its_table_is_refused_with_both_figures(tmp_path, architecture, types):
    folder = tiny_model(tmp_path / "m", architecture=architecture)
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.post_processor = TemplateProcessing(
        single=f"[CLS]:0 $A:{types} [SEP]:0", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    core.save(str(folder / "tokenizer.json"))
    change(folder / "tokenizer_config.json", model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    with pytest.raises(ModelLoadFailed, match=f"token type {types}, .* type_vocab_size of {types}"):
        load_encoder(folder, LoadOptions(device="cpu"))


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize(
    "architecture", ["bert", "roberta", "xlm-roberta", "mpnet", "camembert", "electra", "distilbert", "deberta-v2"]
)
def test_a_text_is_cut_at_the_last_position_whatever_the_files_say(tmp_path, architecture, runtime):
    folder = tiny_model(tmp_path / "m", architecture=architecture)  # of 66 positions
    change(folder / "sentence_bert_config.json", max_seq_length=8192)
    change(folder / "tokenizer_config.json", model_max_length=1e30)
    unused = {"roberta": 1, "xlm-roberta": 1, "camembert": 1, "mpnet": 2}.get(architecture, 0)

    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime=runtime, compute_type="float32"))
    [tokens] = encoder.tokenize(["나 " * 500])

    assert encoder.info.max_tokens == len(tokens) == 66 - unused
    assert tokens.truncated
    reference = SentenceTransformer(str(folder), device="cpu")
    reference.max_seq_length = 66 - unused
    found, expected = encoder.forward([tokens])[0], reference.encode("나 " * 500)
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) >= 0.9999


def t5(root, **fields):
    tokenizer, bare = _tokenizer(64), root / "bare"
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, pad_token_id=0, **fields
    )
    T5EncoderModel(config).save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    change(bare / "tokenizer_config.json", model_max_length=int(1e30))
    modules = [Transformer(str(bare)), Pooling(32)]
    SentenceTransformer(modules=modules, device="cpu").save(str(root / "t5"))
    return root / "t5"


def test_a_model_without_positions_has_its_documented_limit_or_a_usual_one(tmp_path):
    options = LoadOptions(device="cpu", runtime="torch")
    folder = t5(tmp_path)
    encoder = load_encoder(folder, options)
    assert (encoder.info.max_tokens, dict(encoder.token_limits)) == (DEFAULT_LIMIT, {})

    change(folder / "config.json", n_positions=300)
    encoder = load_encoder(folder, options)
    assert (encoder.info.max_tokens, dict(encoder.token_limits)) == (300, {"config.json n_positions": 300})
    assert len(encoder.tokenize(["나 " * 500])[0]) == 300


SENSELESS = st.sampled_from([None, 0, -1, 1e30, 10**40, float("inf"), float("nan"), 1 << 40, -5.5])
LIMIT = st.one_of(SENSELESS, st.integers(3, 1 << 19), st.integers(3, 1 << 19).map(float))


@given(sentence=LIMIT, tokenizer=LIMIT, positions=st.integers(3, 9000))
def test_of_all_limits_that_make_sense_the_least_is_read(tmp_path_factory, sentence, tokenizer, positions):
    folder = tmp_path_factory.mktemp("limits")
    (folder / "modules.json").write_text('[{"path": "0_Transformer"}]')
    (folder / "0_Transformer").mkdir()
    (folder / "0_Transformer/sentence_xlnet_config.json").write_text(json.dumps({"max_seq_length": sentence}))
    (folder / "0_Transformer/tokenizer_config.json").write_text(json.dumps({"model_max_length": tokenizer}))
    stated = stated_limits(folder)
    module = SimpleNamespace(
        max_seq_length=sentence,
        tokenizer=lambda _: {"input_ids": [2, 3]},
        query_length=None,
        document_length=None,
        processing_kwargs={},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "_transformers", lambda model: [model[0]])
        patch.setattr(limits, "_positions", lambda _: {"positions": positions})
        found = settle_limits([module], stated)

    sensible = [value for value in (sentence, tokenizer) if value is not None and 0 < value < 1 << 20]
    assert sorted(stated.values()) == sorted(sensible)
    assert module.max_seq_length == min([*sensible, positions]) == min(found.values())
    assert type(module.max_seq_length) is int


@pytest.mark.parametrize("value", ["512", True, [512], {}])
@pytest.mark.parametrize(
    ("file", "name"),
    [("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")],
)
def test_a_limit_that_is_no_number_is_refused_by_its_file(tmp_path, file, name, value):
    (tmp_path / "modules.json").write_text('[{"path": ""}]')
    (tmp_path / file).write_text(json.dumps({name: value}))
    with pytest.raises(ModelLoadFailed, match=f"{file} has the {name} .*not a number"):
        stated_limits(tmp_path)


def test_a_limit_that_leaves_no_room_for_text_is_refused(tmp_path):
    folder = tiny_model(tmp_path / "m")
    change(folder / "sentence_bert_config.json", max_seq_length=2)
    with pytest.raises(ModelLoadFailed, match=r"max_seq_length is 2, and the tokenizer adds 2 tokens"):
        load_encoder(folder, LoadOptions(device="cpu"))


@pytest.mark.parametrize(("limit", "tokens"), [(64, 64), (5000, 5000), (20_000, LONGEST)])
def test_the_longest_text_fills_the_model_up_to_what_is_tried(limit, tokens):
    encoder = FakeEncoder()
    encoder.info = type(encoder.info)(8, limit)
    assert min(tokens, limit) <= len(encoder.tokenize([longest_text(encoder)])[0]) <= max(tokens, limit)


@pytest.mark.parametrize("vector", [[0, 0], [np.nan, 1], [np.inf, 1]])
def test_a_vector_that_compares_with_nothing_is_refused_by_its_text(vector):
    with pytest.raises(ModelLoadFailed, match="훈민정음"):
        check_vector("훈민정음 해례본", np.array(vector, np.float32))
    check_vector("글", np.ones(2, np.float32))


def test_a_long_model_is_cut_alike_by_its_own_and_by_our_forward(tmp_path):
    folder = tiny_model(tmp_path / "m", max_tokens=4094)
    change(folder / "sentence_bert_config.json", max_seq_length=8192)
    encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32"))
    assert encoder.info.max_tokens == 4094  # tokenizer_config.json says so; there are 4,096 positions
    assert np.isfinite(encode(encoder, [longest_text(encoder)])).all()
