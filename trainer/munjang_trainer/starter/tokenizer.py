"""The tokenizer of the starter model: XLM-R's Unigram pieces behind NFC and XLM-R's own character rules.

It carries no padding and no truncation of its own; those are the encoder's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from munjang_trainer.starter.charsmap import charsmap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from munjang_trainer.starter.q4file import Vocabulary

MASK = "<mask>"


def build_tokenizer(vocabulary: Vocabulary, kept: Sequence[int], rules: Mapping[int, str]) -> Tokenizer:
    """A fast tokenizer whose ids are the positions in `kept`, which must hold the special pieces.

    Decomposed Hangul is composed first, blanks at both ends do not count, and runs of blanks count as one.
    """
    pieces = [(vocabulary.pieces[index], vocabulary.scores[index]) for index in kept]
    tokenizer = Tokenizer(models.Unigram(pieces, kept.index(vocabulary.unk), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Precompiled(charsmap(rules)),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    bos, pad, eos, unk = (
        vocabulary.pieces[index] for index in (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk)
    )
    specials = [AddedToken(piece, normalized=False) for piece in (bos, pad, eos, unk)]
    tokenizer.add_special_tokens([*specials, AddedToken(MASK, lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(piece, tokenizer.token_to_id(piece)) for piece in (bos, eos)],
    )
    return tokenizer
