"""Rows of the zoo: poolings, modules and options of sentence-transformers, on BERT where nothing else is said."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    BoW,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
    WeightedLayerPooling,
    WordEmbeddings,
)
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from torch import nn

from munjang.encoder.model_rules import UNLIMITED_TOKENS
from munjang.korean import PROBES, SENTENCES
from munjang.normalization import nfc
from tests.zoo import vocabularies as vocabulary
from tests.zoo.building import WIDTH, architecture, bare, normalize, shaken
from tests.zoo.checks import TEXTS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.zoo.building import Make

E5 = {"query": "query: ", "passage": "passage: "}
ROLES = {"query": "질문: ", "document": "문서: "}

bert = partial(architecture, "bert")


def rewritten(file: str, **values: Any) -> Callable[[Path], None]:
    """A change of some values of a JSON file."""

    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values), "utf-8")

    return change


def of_modules(make: Callable[[Path], Sequence[Any]], **options: Any) -> Make:
    """A function that makes a folder of any modules; they get a place beside it for a transformer."""

    def made(folder: Path) -> None:
        torch.manual_seed(0)
        model = SentenceTransformer(modules=list(make(folder)), device="cpu", **options)
        model.save(str(folder), create_model_card=False)

    return made


def transformer(folder: Path, name: str = "", **options: Any) -> Transformer:
    """A BERT, which lies beside the folder."""
    place = bare(folder.with_name(f"{folder.name}{name}"), "bert", vocabulary.wordpiece())
    return Transformer(str(place), max_seq_length=64, **options)


def static() -> StaticEmbedding:
    """One vector for each piece of BERT's tokenizer."""
    torch.manual_seed(2)
    return StaticEmbedding(vocabulary.wordpiece().backend_tokenizer, embedding_dim=WIDTH)


def word_embeddings() -> WordEmbeddings:
    """A vector for each word of the texts that are tried: one that is not known is left out."""
    known = dict.fromkeys(["PADDING_TOKEN", *nfc(" ".join([*TEXTS, *PROBES, *SENTENCES])).split()])
    weights = torch.randn(len(known), WIDTH, generator=torch.Generator().manual_seed(3))
    return WordEmbeddings(WhitespaceTokenizer(known, stop_words=set()), weights, max_seq_length=64)


def asymmetric(folder: Path) -> list[Any]:
    """Queries by a table of words, documents by a transformer."""
    document = [transformer(folder), Pooling(WIDTH), Normalize()]
    return [Router.for_query_document(query_modules=[static()], document_modules=document), Normalize()]


def two_transformers(folder: Path) -> list[Any]:
    """A transformer for queries and another one for documents."""
    query = [transformer(folder, "-query"), Pooling(WIDTH, pooling_mode="cls")]
    document = [transformer(folder, "-document"), Pooling(WIDTH)]
    return [Router.for_query_document(query_modules=query, document_modules=document)]


def routed_behind(folder: Path) -> list[Any]:
    """One transformer, and a projection for each role behind its pooling."""
    heads = {role: [Dense(WIDTH, WIDTH)] for role in ("query", "document")}
    route = Router.for_query_document(query_modules=heads["query"], document_modules=heads["document"])
    return [transformer(folder), Pooling(WIDTH), route]


def weighted_layers(folder: Path) -> list[Any]:
    place = bare(folder, "bert", vocabulary.wordpiece(), output_hidden_states=True)
    layers = WeightedLayerPooling(WIDTH, num_hidden_layers=2, layer_start=1)
    return [Transformer(str(place), max_seq_length=64), layers, Pooling(WIDTH)]


def no_limit(folder: Path) -> None:
    """Leave no limit anywhere: T5 has no table of positions either."""
    rewritten("sentence_bert_config.json", max_seq_length=None)(folder)
    rewritten("tokenizer_config.json", model_max_length=int(1e30))(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("n_positions", None)
    path.write_text(json.dumps(config), "utf-8")


def old_layout(folder: Path) -> None:
    """As the library saved folders before version 6: pooling by flags, modules under their old names."""
    rewritten(
        "1_Pooling/config.json",
        word_embedding_dimension=WIDTH,
        pooling_mode_cls_token=False,
        pooling_mode_mean_tokens=True,
        pooling_mode_max_tokens=False,
        pooling_mode_mean_sqrt_len_tokens=False,
    )(folder)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    for name in ("pooling_mode", "embedding_dimension"):
        pooling.pop(name, None)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}', "utf-8")
    types = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")
    modules = json.loads((folder / "modules.json").read_text())
    for module, name in zip(modules, types, strict=True):
        module["type"] = name
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")


def dense(*sizes: int, activation: Callable[[], Any] = nn.Tanh) -> Callable[[], list[Any]]:
    """Projections from one size to the next."""

    def made() -> list[Any]:
        pairs = pairwise(sizes)
        return [shaken(Dense(left, right, activation_function=activation())) for left, right in pairs]

    return made


ROWS = (
    Row("pooling: first token", bert(pooling="cls")),
    Row("pooling: maximum", bert(pooling="max")),
    Row("pooling: last token", bert(pooling="lasttoken")),
    Row("pooling: weighted mean", bert(pooling="weightedmean")),
    Row("pooling: mean by the root of the length", bert(pooling="mean_sqrt_len_tokens")),
    Row("pooling: first token and mean", bert(pooling=("cls", "mean"))),
    Row("pooling: mean, maximum and last token", bert(pooling=("max", "mean", "lasttoken"), modules=normalize)),
    Row(
        "pooling leaves out the prompt",
        bert(include_prompt=False, prompts=ROLES),
        like="hkunlp/instructor-large",
        runtime="torch",
        packed=False,
    ),
    Row("Dense", bert(modules=dense(WIDTH, 16)), like="distiluse-base-multilingual-cased-v2"),
    Row("two Dense and a norm", bert(modules=lambda: [*dense(WIDTH, 48, 24, activation=nn.Identity)(), Normalize()])),
    Row("LayerNorm", bert(modules=lambda: [shaken(LayerNorm(WIDTH))])),
    Row("Dropout", bert(modules=lambda: [Dropout(0.2)])),
    Row("weighted layers", of_modules(weighted_layers), runtime="torch", packed=False),
    Row(
        "static embeddings",
        of_modules(lambda _: [static()]),
        like="minishlab/potion-multilingual-128M",
        runtime="torch",
        packed=False,
        max_tokens=UNLIMITED_TOKENS,
    ),
    Row(
        "word embeddings",
        of_modules(lambda _: [word_embeddings(), Pooling(WIDTH)]),
        like="average_word_embeddings_glove.6B.300d",
        runtime="torch",
        packed=False,
    ),
    Row(
        "word embeddings, LSTM",
        of_modules(lambda _: [word_embeddings(), LSTM(WIDTH, 16), Pooling(WIDTH)]),
        runtime="torch",
        packed=False,
    ),
    Row(
        "word embeddings, CNN",
        of_modules(lambda _: [word_embeddings(), CNN(WIDTH, 16, [1, 3]), Pooling(WIDTH)]),
        runtime="torch",
        packed=False,
        alone=True,
    ),
    Row(
        "bag of words",
        of_modules(lambda _: [BoW([*vocabulary.words(), "가"])]),
        refused="there are no weights in the folder",
    ),
    Row(
        "asymmetric: table of words for queries",
        of_modules(asymmetric),
        runtime="torch",
        packed=False,
        max_tokens=UNLIMITED_TOKENS,
    ),
    Row("Router: two transformers", of_modules(two_transformers), runtime="torch", packed=False),
    Row(
        "Router behind the pooling",
        of_modules(routed_behind),
        runtime="torch",
        packed=False,
    ),
    Row("truncate_dim", bert(change=rewritten("config_sentence_transformers.json", truncate_dim=16))),
    Row("prompts by role", bert(prompts=ROLES)),
    Row("prompts of E5", bert(prompts=E5)),
    Row("default prompt", bert(prompts=ROLES, default_prompt="document")),
    Row("empty prompts", bert(prompts={"query": "", "document": "문서: "}, default_prompt="document")),
    Row("limit above the positions", bert(change=rewritten("sentence_bert_config.json", max_seq_length=512))),
    Row("limit of 16 tokens", bert(max_tokens=16), max_tokens=16),
    Row("2,048 positions", bert(max_tokens=2048, max_position_embeddings=2048), max_tokens=2048),
    Row(
        "no limit at all",
        architecture("t5", vocabulary.t5, change=no_limit, d_kv=16, d_ff=64, max_position_embeddings=None),
        like="sentence-t5-base",
        max_tokens=512,
    ),
    Row(
        "processing_kwargs cut texts",
        bert(transformer={"processing_kwargs": {"text": {"max_length": 16, "truncation": True}}}),
        max_tokens=16,
    ),
    Row(
        "query_length, document_length",
        bert(transformer={"query_length": 16, "document_length": 32}),
    ),
    Row("lower case", bert(transformer={"do_lower_case": True})),
    Row("cut at the left", bert(change=rewritten("tokenizer_config.json", truncation_side="left"))),
    Row("padding at the left", bert(change=rewritten("tokenizer_config.json", padding_side="left"))),
    Row("float16 weights", bert(dtype=torch.float16)),
    Row("bfloat16 weights", bert(dtype=torch.bfloat16)),
    Row("sharded weights", bert(shard_size="60KB")),
    Row("dot product", bert(change=rewritten("config_sentence_transformers.json", similarity_fn_name="dot"))),
    Row("folder of an older library", bert(change=old_layout), like="jhgan/ko-sroberta-multitask"),
)
