"""Rows of the zoo: transformers whose tokens look back alone, as models of billions of parameters do."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.modules import Dense
from torch import nn

from tests.zoo import vocabularies as vocabulary
from tests.zoo.building import WIDTH, architecture, normalize
from tests.zoo.checks import Row

INSTRUCT = {"query": "Instruct: search\nQuery: ", "document": ""}
"""The prompts of models that follow instructions, short enough to leave room for texts."""

GEMMA = {"query": "task: search result | query: ", "document": "title: none | text: "}

LAST = {"pooling": "lasttoken", "modules": normalize, "prompts": INSTRUCT, "max_tokens": 64}
"""How most of them make a vector."""

ENDED = {"pad": "[PAD]", "bos": "[BOS]", "eos": "[EOS]", "unk": "[UNK]"}


def exaone_tokenizer() -> Any:
    return vocabulary.byte_level(ENDED, end="[EOS]", padding_side="left")


def right_padded() -> Any:
    return vocabulary.byte_level(ENDED, end="[EOS]", model_input_names=["input_ids", "attention_mask"])


def projected() -> list[Any]:
    """The two projections of EmbeddingGemma, and its norm."""
    return [
        Dense(WIDTH, 4 * WIDTH, bias=False, activation_function=nn.Identity()),
        Dense(4 * WIDTH, WIDTH, bias=False, activation_function=nn.Identity()),
        *normalize(),
    ]


ROWS = (
    Row(
        "Qwen3",
        architecture("qwen3", vocabulary.qwen, num_key_value_heads=1, head_dim=16, **LAST),
        like="Qwen/Qwen3-Embedding-0.6B",
    ),
    Row(
        "Qwen2",
        architecture("qwen2", vocabulary.qwen, num_key_value_heads=1, **LAST),
        like="Alibaba-NLP/gte-Qwen2-1.5B-instruct",
    ),
    Row(
        "Qwen2, padding behind the text",
        architecture("qwen2", right_padded, num_key_value_heads=1, **LAST),
        like="Qwen2 models of one's own",
    ),
    Row(
        "Llama",
        architecture("llama", vocabulary.llama, num_key_value_heads=1, **LAST),
        like="nvidia/llama-embed-nemotron-8b, LLM2Vec",
    ),
    Row(
        "Mistral",
        architecture("mistral", vocabulary.llama, num_key_value_heads=1, head_dim=16, sliding_window=None, **LAST),
        like="intfloat/e5-mistral-7b-instruct",
    ),
    Row(
        "Mistral, sliding window",
        architecture("mistral", vocabulary.llama, num_key_value_heads=1, head_dim=16, sliding_window=16, **LAST),
        like="Salesforce/SFR-Embedding-Mistral",
    ),
    Row(
        "EXAONE 4",
        architecture(
            "exaone4", exaone_tokenizer, num_hidden_layers=4, num_key_value_heads=1, sliding_window=16, **LAST
        ),
        like="LGAI-EXAONE/EXAONE-4.0-1.2B",
    ),
    Row(
        "HyperCLOVA X",
        architecture("hyperclovax", exaone_tokenizer, num_key_value_heads=1, **LAST),
        like="naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-0.5B",
    ),
    Row(
        "Gemma 3, both ways",
        architecture(
            "gemma3_text",
            vocabulary.gemma,
            modules=projected,
            prompts=GEMMA,
            num_hidden_layers=4,
            num_key_value_heads=1,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"] * 2,
            use_bidirectional_attention=True,
        ),
        like="google/embeddinggemma-300m",
    ),
    Row(
        "Gemma 2",
        architecture(
            "gemma2",
            vocabulary.gemma,
            num_key_value_heads=1,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=16,
            **LAST,
        ),
        like="BAAI/bge-multilingual-gemma2",
    ),
    Row(
        "Gemma",
        architecture("gemma", vocabulary.gemma, num_key_value_heads=1, head_dim=16, **LAST),
        like="google/gemma-2b",
    ),
    Row(
        "GPT-2",
        architecture("gpt2", vocabulary.gpt2, pooling="weightedmean", n_inner=64),
        like="skt/kogpt2-base-v2, SGPT",
    ),
    Row(
        "BLOOM",
        architecture("bloom", right_padded, pooling="weightedmean"),
        like="bigscience/sgpt-bloom-7b1-msmarco",
    ),
    Row("GPT-NeoX", architecture("gpt_neox", right_padded), like="EleutherAI/polyglot-ko-1.3b"),
    Row(
        "OPT",
        architecture("opt", right_padded, ffn_dim=64, word_embed_proj_dim=WIDTH),
        like="facebook/opt-350m",
    ),
    Row(
        "Phi-3",
        architecture("phi3", right_padded, num_key_value_heads=1, sliding_window=None, **LAST),
        like="microsoft/Phi-3-mini-4k-instruct",
    ),
    Row("OLMo 2", architecture("olmo2", right_padded, num_key_value_heads=1, **LAST), like="allenai/OLMo-2-0425-1B"),
    Row(
        "SmolLM3", architecture("smollm3", right_padded, num_key_value_heads=1, **LAST), like="HuggingFaceTB/SmolLM3-3B"
    ),
    Row(
        "Granite",
        architecture("granite", right_padded, num_key_value_heads=1, **LAST),
        like="ibm-granite/granite-3.3-2b-base",
    ),
)
