"""What a text is for decides its route and its limit, as in `encode_query` and `encode_document`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding
from tokenizers import Tokenizer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.errors import InvalidOption
from munjang.kinds import Role
from munjang.testing_models import tiny_model

TEXTS = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "각", "띄어쓰기가 있든 없든 " * 40, "ㅋㅋ 🥁 drum", "비가 온다"]
PROMPTS = {"query": "질문: ", "document": "문서: "}


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


def check(folder, encoder):
    """Each role alone, together and mixed gives what sentence-transformers gives for each text by itself."""
    model = SentenceTransformer(str(folder), device="cpu")
    expected, tokens = [], []
    for role, method in (
        (Role.QUERY, model.encode_query),
        (Role.DOCUMENT, model.encode_document),
        (None, model.encode),
    ):
        own = method(TEXTS, batch_size=1)
        how = prompting(encoder.info, role=role)
        assert cosines(encode(encoder, TEXTS, how), own).min() >= 0.9999
        alone = np.concatenate([encode(encoder, [text], how) for text in TEXTS])
        assert cosines(alone, own).min() >= 0.9999
        expected.append(own)
        tokens += encoder.tokenize(TEXTS, how)
    assert cosines(encoder.forward(tokens), np.concatenate(expected)).min() >= 0.9999


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [tiny_model(root / str(seed), seed=seed, prompts=PROMPTS) for seed in range(2)]


def saved(folder, modules, **options):
    SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu", **options).save(str(folder))
    return folder


def static(folder):
    return StaticEmbedding(Tokenizer.from_file(str(folder / "tokenizer.json")), embedding_dim=32)


def test_a_router_sends_each_role_its_own_way(tmp_path, folders):
    query, document = ([*SentenceTransformer(str(folder), device="cpu")] for folder in folders)
    folder = saved(tmp_path / "m", [Router.for_query_document(query, document)])
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    check(folder, encoder)
    query_way, document_way = (encode(encoder, TEXTS, prompting(encoder.info, role=role)) for role in Role)
    assert cosines(query_way, document_way).max() < 0.99


def test_a_query_may_be_a_table_and_a_document_a_transformer(tmp_path, folders):
    document = [*SentenceTransformer(str(folders[0]), device="cpu")]
    folder = saved(tmp_path / "m", [Router.for_query_document([static(folders[0])], document)])

    check(folder, load_encoder(folder, LoadOptions(device="cpu")))


def test_a_router_behind_the_pooling_is_not_traced_by_its_default_way(tmp_path, folders):
    transformer, pooling = SentenceTransformer(str(folders[0]), device="cpu")
    ways = Router.for_query_document([dense(1)], [dense(2)], default_route="document")
    folder = saved(tmp_path / "m", [transformer, pooling, ways])
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    check(folder, encoder)


def dense(seed):
    import torch  # noqa: PLC0415 - only to seed the weights
    from sentence_transformers.sentence_transformer.modules import Dense  # noqa: PLC0415 - beside it

    torch.manual_seed(seed)
    return Dense(32, 16)


def test_a_role_without_a_way_is_refused_by_name(tmp_path, folders):
    ways = {"query": [*SentenceTransformer(str(folders[0]), device="cpu")], "corpus": [static(folders[0])]}
    folder = saved(tmp_path / "m", [Router(ways, default_route="corpus")])
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    with pytest.raises(InvalidOption, match="document") as caught:
        encoder.tokenize(["글"], prompting(encoder.info, role=Role.DOCUMENT))
    assert caught.value.field == "role"
    assert len(encoder.tokenize(["글"])) == 1


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_role_may_have_a_limit_of_its_own(tmp_path, folders, runtime):
    model = SentenceTransformer(str(folders[0]), device="cpu")
    model[0].max_seq_length, model[0].query_length, model[0].document_length = 32, 12, 48
    model.save(str(tmp_path / "m"))
    encoder = load_encoder(tmp_path / "m", LoadOptions(device="cpu", runtime=runtime, compute_type="float32"))

    lengths = [len(encoder.tokenize([TEXTS[2]], prompting(encoder.info, role=role))[0]) for role in (*Role, None)]
    assert lengths == [12, 48, 32]
    assert encoder.info.max_tokens == 48
    check(tmp_path / "m", encoder)


def test_a_limit_of_a_role_beyond_the_positions_is_that_of_the_positions(tmp_path, folders):
    model = SentenceTransformer(str(folders[0]), device="cpu")
    model[0].document_length = 500
    model.save(str(tmp_path / "m"))
    encoder = load_encoder(tmp_path / "m", LoadOptions(device="cpu"))

    [tokens] = encoder.tokenize([TEXTS[2]], prompting(encoder.info, role=Role.DOCUMENT))
    assert len(tokens) == 66
    assert tokens.truncated


@pytest.mark.parametrize(
    "asked", [{"max_length": 10}, {"add_special_tokens": False}, {"max_length": 10, "padding": "max_length"}]
)
def test_what_a_model_asks_of_its_tokenizer_is_done(tmp_path, folders, asked):
    folder = tmp_path / "m"
    SentenceTransformer(str(folders[0]), device="cpu").save(str(folder))
    file = folder / "sentence_bert_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"processing_kwargs": {"text": asked}}))
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    check(folder, encoder)
    long, short = encoder.tokenize([TEXTS[2], "각"])
    assert (len(long), long.truncated, short.truncated) == (asked.get("max_length", 64), True, False)
    assert len(short) == (1 if "add_special_tokens" in asked else 3)


def test_any_model_says_whether_it_cut_a_text_and_how_many_tokens_it_read(tmp_path, folders, capsys):
    model = SentenceTransformer(str(folders[0]), device="cpu")
    folder = saved(tmp_path / "m", [Router.for_query_document([*model], [*model])])
    encoder = load_encoder(folder, LoadOptions(device="cpu"))
    capsys.readouterr()

    for role in Role:
        long, short = encoder.tokenize([TEXTS[2], "각"], prompting(encoder.info, role=role))
        assert (len(long), long.truncated) == (64, True)
        assert (len(short), short.truncated) == (3 + 3, False)
        encoder.forward([long, short])
    assert capsys.readouterr() == ("", "")


def test_a_model_may_give_the_first_components_of_its_vectors(tmp_path, folders):
    model = SentenceTransformer(str(folders[0]), device="cpu", truncate_dim=16)
    model.save(str(tmp_path / "m"))
    for runtime in ("openvino", "torch"):
        encoder = load_encoder(tmp_path / "m", LoadOptions(device="cpu", runtime=runtime, compute_type="float32"))
        assert encoder.info.dimensions == 16
        check(tmp_path / "m", encoder)


def test_a_pooling_of_a_router_needs_no_fast_path(tmp_path, folders):
    transformer, _ = SentenceTransformer(str(folders[0]), device="cpu")
    ways = Router.for_query_document([Pooling(32, "cls")], [Pooling(32, "mean")])
    folder = saved(tmp_path / "m", [transformer, ways])

    check(folder, load_encoder(folder, LoadOptions(device="cpu")))
