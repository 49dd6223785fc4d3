"""Small tokenizers of the classes that real models have, over the syllables of the built-in sentences.

The classes are those of transformers, so what each does to a text, and what it saves, is what users' folders have.
"""

from __future__ import annotations

import json
import string
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    CamembertTokenizer,
    DebertaV2Tokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
    XLNetTokenizer,
)

from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Sequence

MERGES = 500
"""How many pairs of pieces a byte-pair vocabulary joins."""

KOREAN_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
KLUE = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
SENTENCEPIECE = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

Pairs = tuple[dict[str, int], list[tuple[str, str]]]
"""A vocabulary of byte-pair encoding, and what it joins."""


def wordpiece(special: Sequence[str] = KOREAN_BERT, **options: Any) -> BertTokenizer:
    """BERT's, as multilingual and Korean models have it: cased; klue's has its special tokens in another order."""
    return BertTokenizer(vocab=_pieces(special), do_lower_case=False, **options)


def klue() -> BertTokenizer:
    """That of klue/roberta: BERT's, and its padding is token 1."""
    return wordpiece(KLUE)


def mpnet() -> MPNetTokenizer:
    """WordPiece between RoBERTa's special tokens."""
    return MPNetTokenizer(vocab=_pieces(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]), do_lower_case=False)


def roberta() -> RobertaTokenizer:
    """Bytes in pairs between RoBERTa's special tokens."""
    vocabulary, merges = _with_special(_byte_pairs(), SENTENCEPIECE)
    return RobertaTokenizer(vocab=vocabulary, merges=merges)


def gpt2() -> GPT2Tokenizer:
    """Bytes in pairs; a padding token of its own, as Korean models of this kind have it."""
    vocabulary, merges = _with_special(_byte_pairs(), ["<|endoftext|>", "<pad>"])
    return GPT2Tokenizer(vocab=vocabulary, merges=merges, pad_token="<pad>")


def qwen() -> Qwen2Tokenizer:
    """Bytes in pairs, an end-of-text token behind each text, padding before it: as Qwen3-Embedding has it."""
    vocabulary, merges = _with_special(_byte_pairs(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    made = Qwen2Tokenizer(vocab=vocabulary, merges=merges, padding_side="left")
    return _ended(made, "<|endoftext|>")


def llama(padding_side: str = "left") -> LlamaTokenizer:
    """SentencePiece in pairs with single bytes for unknown characters, between `<s>` and `</s>`: as e5-mistral."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    vocabulary, merges = _with_special(_metaspace_pairs(), special)
    made = LlamaTokenizer(vocab=vocabulary, merges=merges, pad_token="</s>", padding_side=padding_side)
    return _ended(made, "</s>", begin="<s>")


def gemma() -> GemmaTokenizer:
    """The same between `<bos>` and `<eos>`, as EmbeddingGemma has it."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{number:02X}>" for number in range(256))]
    vocabulary, merges = _with_special(_metaspace_pairs(), special)
    return _ended(GemmaTokenizer(vocab=vocabulary, merges=merges), "<eos>", begin="<bos>")


def xlm_roberta() -> XLMRobertaTokenizer:
    """Unigram between RoBERTa's special tokens."""
    return XLMRobertaTokenizer(vocab=_scored(SENTENCEPIECE))


def camembert() -> CamembertTokenizer:
    """The same by another class."""
    return CamembertTokenizer(vocab=_scored(SENTENCEPIECE), additional_special_tokens=[])


def t5() -> T5Tokenizer:
    """Unigram with an ending token only."""
    return T5Tokenizer(vocab=_scored(["<pad>", "</s>", "<unk>"]), extra_ids=4)


def albert() -> AlbertTokenizer:
    """Unigram between BERT's special tokens; it takes Hangul apart."""
    return AlbertTokenizer(vocab=_scored(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]))


def deberta() -> DebertaV2Tokenizer:
    """Unigram between BERT's special tokens."""
    return DebertaV2Tokenizer(vocab=_scored(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]))


def xlnet() -> XLNetTokenizer:
    """Unigram with its special tokens at the end, and padding before the text."""
    special = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    return XLNetTokenizer(vocab=_scored(special), padding_side="left")


def byte_level(names: dict[str, str], *, begin: str = "", end: str = "", **options: Any) -> PreTrainedTokenizerFast:
    """Bytes in pairs with any special tokens, by the class that has no rules of its own.

    Args:
        names: special tokens by what they are for: pad, cls, sep, mask, unk, bos, eos.
        begin: the special token before each text.
        end: the one behind it.
        options: more of the tokenizer's.
    """
    vocabulary, merges = _with_special(_byte_pairs(), list(dict.fromkeys(names.values())))
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens = {f"{name}_token": token for name, token in names.items()}
    made = PreTrainedTokenizerFast(tokenizer_object=core, **tokens, **options)
    return _ended(made, end, begin=begin)


def modernbert() -> PreTrainedTokenizerFast:
    """Bytes in pairs between BERT's special tokens."""
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    inputs = ["input_ids", "attention_mask"]
    return byte_level(names, begin="[CLS]", end="[SEP]", model_input_names=inputs)


@cache
def characters() -> tuple[str, ...]:
    """The characters of the built-in sentences, decomposed ones too; a character that is in none is unknown."""
    text = "".join(SENTENCES)
    found = {*string.printable, *text, *unicodedata.normalize("NFKD", text)}
    return tuple(sorted(found - {*string.whitespace}))


@cache
def words() -> tuple[str, ...]:
    """Their words of two characters or more."""
    return tuple(sorted({word for sentence in SENTENCES for word in sentence.split() if len(word) > 1}))


def _pieces(special: Sequence[str]) -> dict[str, int]:
    """A vocabulary for WordPiece."""
    parts = [*special, *characters(), *words(), *(f"##{character}" for character in characters())]
    return {piece: number for number, piece in enumerate(dict.fromkeys(parts))}


def _scored(special: Sequence[str]) -> list[tuple[str, float]]:
    """A vocabulary for Unigram: a long piece is likelier than its characters one by one."""
    parts = [*special, "▁", *characters(), *(f"▁{word}" for word in words())]
    return [(piece, 0.0 if piece in special else -10.0 / len(piece)) for piece in dict.fromkeys(parts)]


@cache
def _byte_pairs() -> Pairs:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _trained(core, pre_tokenizers.ByteLevel.alphabet())


@cache
def _metaspace_pairs() -> Pairs:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return _trained(core, ["▁", *characters()])


def _trained(core: Tokenizer, alphabet: list[str]) -> Pairs:
    """Byte-pair encoding that is trained on the built-in sentences."""
    size = len(set(alphabet)) + MERGES
    core.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(core.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def _with_special(pairs: Pairs, special: Sequence[str]) -> Pairs:
    """The same with special tokens in front."""
    vocabulary, merges = pairs
    pieces = [*special, *sorted(vocabulary, key=vocabulary.__getitem__)]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, merges


def _ended(made: Any, end: str, *, begin: str = "") -> Any:
    """The tokenizer, with these special tokens around each text."""
    around = [token for token in (begin, end) if token]
    ids = [(token, made.convert_tokens_to_ids(token)) for token in around]
    single = " ".join(part for part in (begin, "$A", end) if part)
    made.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=ids)
    return made
