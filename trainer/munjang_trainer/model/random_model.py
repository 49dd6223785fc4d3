"""A small BERT with random weights, and a WordPiece vocabulary made from texts: for tests, and to try out a recipe."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from munjang_trainer.recipe.schema import RandomModelConfig


SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def make_random_model(
    shape: RandomModelConfig, texts: Sequence[str], max_tokens: int, work: Path, seed: int
) -> SentenceTransformer:
    """The model, the same for the same texts and seed; `work` is a folder for temporary files."""
    tokenizer = _tokenizer(shape.vocabulary, texts, max_tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bert = BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape.hidden,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                intermediate_size=shape.feed_forward,
                max_position_embeddings=max_tokens,
            )
        )
    bert.save_pretrained(work)
    tokenizer.save_pretrained(work)
    transformer = Transformer(str(work), max_seq_length=max_tokens)
    return SentenceTransformer(modules=[transformer, Pooling(shape.hidden, "mean")], device="cpu")


def _tokenizer(size: int, texts: Sequence[str], max_tokens: int) -> PreTrainedTokenizerFast:
    """WordPiece over composed Hangul: accents must not be stripped, or syllables would be split into letters."""
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    pieces = [*SPECIAL.values(), *_pieces(words, size - len(SPECIAL))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL["unk"]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    ends = [(SPECIAL[name], vocabulary[SPECIAL[name]]) for name in ("cls", "sep")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{name}_token": token for name, token in SPECIAL.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_tokens, **names)


def _pieces(words: Counter[str], count: int) -> list[str]:
    """Frequent characters, inside and at the head of words, then frequent words.

    The library's own trainer breaks ties randomly, so the same texts would give another vocabulary each time.
    """
    characters: Counter[str] = Counter()
    for word, times in words.items():
        characters[word[0]] += times
        for character in word[1:]:
            characters[f"##{character}"] += times
    chosen = dict.fromkeys(_frequent(characters)[: count // 2])
    chosen |= dict.fromkeys(_frequent(words)[:count])
    return list(chosen)[:count]


def _frequent(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda piece: (-counts[piece], piece))
