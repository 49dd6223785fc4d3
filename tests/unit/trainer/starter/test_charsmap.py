"""The character map, as the library that reads it understands it."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import Precompiled

from munjang_trainer.starter.tokenizer import charsmap

scalars = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
rules = st.dictionaries(scalars.map(ord), st.text(scalars, max_size=4), max_size=60)


@settings(max_examples=60)
@given(rules)
def test_every_rule_is_applied(rules):
    normalizer = Precompiled(charsmap(rules))
    for source, replacement in rules.items():
        assert normalizer.normalize_str(chr(source)) == replacement


@settings(max_examples=60)
@given(rules, st.sets(scalars, max_size=60))
def test_no_other_character_is_touched(rules, characters):
    normalizer = Precompiled(charsmap(rules))
    for character in characters:
        if ord(character) not in rules:
            assert normalizer.normalize_str(character) == character


def test_thousands_of_compatibility_rules_hold_over_all_of_unicode():
    compatible = {
        code: unicodedata.normalize("NFKC", chr(code))
        for code in range(0xA0, 0x1_F300)
        if unicodedata.category(chr(code)) != "Cs" and unicodedata.normalize("NFKC", chr(code)) != chr(code)
    }
    normalizer = Precompiled(charsmap(compatible))
    for code in [*range(1, 0xD800), *range(0xE000, 0x1_F300)]:
        assert normalizer.normalize_str(chr(code)) == compatible.get(code, chr(code)), hex(code)
