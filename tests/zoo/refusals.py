"""Rows of the zoo: models of other kinds than dense ones, and folders that are refused."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SparseEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Transformer
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from munjang.kinds import ModelKind
from tests.zoo import vocabularies as vocabulary
from tests.zoo.building import TOKENS, WIDTH, architecture, bare
from tests.zoo.checks import Row
from tests.zoo.configurations import rewritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.zoo.building import Make

bert = partial(architecture, "bert")


def cross_encoder(model_type: str, tokenizer: Callable[[], Any], **config: Any) -> Make:
    """One score of a pair of texts."""

    def make(folder: Path) -> None:
        head = AutoModelForSequenceClassification
        place = bare(folder, model_type, tokenizer(), model_class=head, num_labels=1, **config)
        CrossEncoder(str(place), device="cpu", max_length=TOKENS).save(str(folder), create_model_card=False)

    return make


def splade(folder: Path) -> None:
    """A weight for each piece of the vocabulary."""
    place = bare(folder, "bert", vocabulary.wordpiece(), model_class=AutoModelForMaskedLM)
    model = SparseEncoder(modules=[MLMTransformer(str(place)), SpladePooling()], device="cpu")
    model.save(str(folder), create_model_card=False)


def colbert(folder: Path) -> None:
    """A vector of each token."""
    place = bare(folder, "bert", vocabulary.wordpiece())
    names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    modules = [Transformer(str(place)), Dense(WIDTH, 16, bias=False, **names)]
    MultiVectorEncoder(modules=modules, device="cpu").save(str(folder), create_model_card=False)


def plain(model_type: str, tokenizer: Callable[[], Any], head: Any, **config: Any) -> Make:
    """A folder of transformers alone."""

    def make(folder: Path) -> None:
        bare(folder, model_type, tokenizer(), model_class=head, **config).rename(folder)

    return make


def renamed(old: str, new: str) -> Callable[[Path], None]:
    """A file under another name."""

    def change(folder: Path) -> None:
        (folder / old).rename(folder / new)

    return change


def pickled(folder: Path) -> None:
    """Weights as torch.save writes them."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


class Gadget:
    """What a pickle can do when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not run",)


def gadget(folder: Path) -> None:
    """Weights with something among them that runs when they are read."""
    torch.save({"weights": Gadget()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def pointer(folder: Path) -> None:
    """What git leaves where git-lfs is not installed."""
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 442494816\n"
    (folder / "model.safetensors").write_text(text)


def adapter(folder: Path) -> None:
    """LoRA's weights without those that they belong to."""
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "./base", "peft_type": "LORA"}')


def no_pooling(folder: Path) -> None:
    """The transformer module alone."""
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:1]))


def weights(edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    """Other weights in the same file."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(edit(load_file(path)), path, metadata={"format": "pt"})

    return change


def without_layer(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if "layer.1." not in name}


def other_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"backbone.{name}": tensor for name, tensor in tensors.items()}


def not_finite(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = next(name for name in tensors if "word_embeddings" in name)
    tensors[name][7, 3] = np.nan
    return tensors


def zeros(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def extra_token(folder: Path) -> None:
    """A token that the table of embeddings has no row for."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    added = {"id": len(vocabulary.wordpiece()), "content": "[새]", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"].append(added | flags)
    path.write_text(json.dumps(content, ensure_ascii=False))


def code_module(folder: Path) -> None:
    """A module of the model's own."""
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "custom_pooling.MyPooling"
    (folder / "modules.json").write_text(json.dumps(modules))


ROWS = (
    Row(
        "cross-encoder: BERT",
        cross_encoder("bert", vocabulary.wordpiece),
        like="cross-encoder/ms-marco-MiniLM-L6-v2",
        kind=ModelKind.CROSS_ENCODER,
    ),
    Row(
        "cross-encoder: XLM-RoBERTa",
        cross_encoder("xlm-roberta", vocabulary.xlm_roberta, max_position_embeddings=TOKENS + 2),
        like="BAAI/bge-reranker-v2-m3, dragonkue/bge-reranker-v2-m3-ko",
        kind=ModelKind.CROSS_ENCODER,
    ),
    Row(
        "cross-encoder: ModernBERT",
        cross_encoder("modernbert", vocabulary.modernbert, local_attention=16),
        like="Alibaba-NLP/gte-reranker-modernbert-base",
        kind=ModelKind.CROSS_ENCODER,
    ),
    Row("SPLADE", splade, like="naver/splade-v3", refused="a sparse model .SPLADE."),
    Row("ColBERT", colbert, like="lightonai/GTE-ModernColBERT-v1", refused="a multi-vector model .ColBERT."),
    Row(
        "classifier of five labels",
        plain("roberta", vocabulary.klue, AutoModelForSequenceClassification, num_labels=5),
        like="a sentiment classifier",
        refused="ForSequenceClassification",
    ),
    Row(
        "generative language model",
        plain("qwen2", vocabulary.qwen, AutoModelForCausalLM, num_key_value_heads=1),
        like="Qwen/Qwen2.5-0.5B-Instruct",
        refused="no pooling",
    ),
    Row(
        "masked language model",
        plain("bert", vocabulary.wordpiece, AutoModelForMaskedLM),
        like="klue/bert-base",
        refused="no pooling",
    ),
    Row("pickled weights", bert(change=pickled), like="older folders of BAAI/bge-m3"),
    Row("pickled weights that run code", bert(change=gadget), refused=r"pytorch_model\.bin"),
    Row(
        "code of its own",
        bert(change=rewritten("config.json", auto_map={"AutoModel": "modeling.Model"})),
        like="nomic-ai/nomic-embed-text-v2-moe",
        refused=r"config\.json asks for code of the model's own \(auto_map\)",
    ),
    Row("module of its own", bert(change=code_module), refused="custom_pooling.MyPooling.*only modules of"),
    Row("pointer of git-lfs", bert(change=pointer), refused="pointer of git-lfs.*git lfs pull"),
    Row("adapter without its base", bert(change=adapter), refused="belongs to an adapter .LoRA."),
    Row("no pooling", bert(change=no_pooling), refused="no pooling"),
    Row("token beyond the table", bert(change=extra_token), refused="'.새.' the id .*rows: call model.resize_token"),
    Row(
        "weights of a layer are missing",
        bert(change=weights(without_layer)),
        refused="would be made up at random",
    ),
    Row(
        "weights under other names",
        bert(change=weights(other_names)),
        refused="would be made up at random",
    ),
    Row("weights that are not finite", bert(change=weights(not_finite)), refused="word_embeddings.* not finite"),
    Row("weights of zeros", bert(change=weights(zeros)), refused="all zeros"),
    Row(
        "no tokenizer",
        bert(change=lambda folder: (folder / "tokenizer.json").unlink()),
        refused="tokenizer",
        pending="a tokenizer without a vocabulary is made up, and every word is unknown to it",
    ),
    Row(
        "limit without room for a word",
        bert(change=rewritten("sentence_bert_config.json", max_seq_length=2)),
        refused="no room for text",
    ),
    Row("no model at all", lambda folder: folder.mkdir(), refused="is no model folder"),
    Row(
        "architecture that transformers does not know",
        bert(change=rewritten("config.json", model_type="kormo")),
        refused="kormo",
    ),
)
