"""Sources of a recipe become tables: KorNLI triples, scored pairs, paraphrase groups, pairs, ready triples."""

from __future__ import annotations

import math
import random
import unicodedata
from itertools import combinations, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, assert_never

from munjang_trainer.data.files import RowCounts, read_lines, read_records, read_table, resolve_address
from munjang_trainer.data.leakage import split
from munjang_trainer.data.table import Table
from munjang_trainer.recipe.schema import GroupsSource, NliSource, PairsSource, StsSource, TripletsSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from munjang_trainer.recipe.schema import Source


Row = TypeVar("Row")


class Loaded(NamedTuple):
    """What a source gave: tables to train on and to evaluate on, and the count of its rows."""

    train: Table
    held_out: Table
    counts: RowCounts


def load_source(source: Source, folder: str, seed: int) -> Loaded:
    """Read a source's files, hold out what it says, and make tables of both sides.

    Raises:
        ConfigurationError: a file cannot be read, or has other columns.
    """
    counts = RowCounts()
    addresses = [resolve_address(folder, file) for file in source.files]
    match source:
        case NliSource():
            train, held = _nli(source, addresses, seed, counts)
        case StsSource():
            train, held = _plain("sts", source, (row for a in addresses for row in read_sts(a, source, counts)), seed)
        case TripletsSource():
            train, held = _plain("triplets", source, _read_triplets(source, addresses, counts), seed)
        case GroupsSource():
            groups = _sides(source, [row for a in addresses for row in read_groups(a, source, counts)], _texts, seed)
            train = Table("pairs", list(make_pairs(groups[0], source.pairs_per_group, seed)))
            held = _group_table(groups[1])
        case PairsSource():
            pairs = _sides(source, [row for a in addresses for row in read_pairs(a, source, counts)], _two, seed)
            train = Table("pairs", list(pairs[0]))
            held = _group_table(Group(pair.group, (pair.anchor, pair.positive)) for pair in pairs[1])
        case _:
            assert_never(source)
    return Loaded(train, held, counts)


def load_evaluation_source(source: Source, folder: str, seed: int) -> tuple[Table, RowCounts]:
    """Read a source for evaluation: all of it, in the form that its held-out part would have."""
    if isinstance(source, GroupsSource):
        counts = RowCounts()
        return _group_table(
            g for file in source.files for g in read_groups(resolve_address(folder, file), source, counts)
        ), counts
    loaded = load_source(source.model_copy(update={"hold_out": None}), folder, seed)
    if isinstance(source, PairsSource):
        return _group_table(Group(row[2], row[:2]) for row in loaded.train.rows), loaded.counts
    return loaded.train, loaded.counts


def _nli(source: NliSource, addresses: list[str], seed: int, counts: RowCounts) -> tuple[Table, Table]:
    trained: list[Triplet] = []
    held_out: list[Triplet] = []
    for position, address in enumerate(addresses):
        rows = list(read_nli(address, counts, keep_empty=source.keep_empty))
        train, held = _sides(source, rows, _two, seed)
        trained.extend(make_triplets(train, seed + position))
        held_out.extend(make_triplets(held, seed + position))
    return Table("triplets", list(trained)), Table("triplets", list(held_out))


def _plain(kind: Any, source: Source, rows: Iterable[tuple[Any, ...]], seed: int) -> tuple[Table, Table]:
    train, held = _sides(source, list(rows), _strings, seed)
    return Table(kind, train), Table(kind, held)


def _sides(
    source: Source, rows: list[Row], texts_of: Callable[[Row], Iterable[str]], seed: int
) -> tuple[list[Row], list[Row]]:
    return split(rows, texts_of, source.hold_out, seed)


def _read_triplets(source: TripletsSource, addresses: list[str], counts: RowCounts) -> Iterator[Triplet]:
    for address in addresses:
        for row in read_table(address, source.columns, counts):
            triple = Triplet(*map(clean, row))
            if all(triple):
                yield triple
            else:
                counts.drop("empty text")


def _group_table(groups: Iterable[Group]) -> Table:
    return Table("groups", [(text, group.name) for group in groups for text in group.texts])


def _texts(group: Group) -> Iterable[str]:
    return group.texts


def _two(row: tuple[Any, ...]) -> Iterable[str]:
    return row[:2]


def _strings(row: tuple[Any, ...]) -> Iterable[str]:
    return (value for value in row if isinstance(value, str))


def clean(text: str) -> str:
    """A text without white space around it, composed (NFC) as the encoder composes what it is given."""
    return unicodedata.normalize("NFC", text.strip())


LABELS = ("entailment", "neutral", "contradiction")


class Triplet(NamedTuple):
    """An anchor, a text of like meaning, and one that contradicts."""

    anchor: str
    positive: str
    negative: str


class Inference(NamedTuple):
    """A premise, a hypothesis, and what holds between them."""

    premise: str
    hypothesis: str
    label: str


def read_nli(address: str, counts: RowCounts, *, keep_empty: bool = False) -> Iterator[Inference]:
    """The rows of a KorNLI file: `sentence1 sentence2 gold_label`, tab separated, one header line, no quoting."""
    for premise, hypothesis, label in read_table(address, ("sentence1", "sentence2", "gold_label"), counts):
        row = Inference(clean(premise), clean(hypothesis), label.strip())
        if row.label not in LABELS:
            counts.drop("unknown label")
        elif not keep_empty and not (row.premise and row.hypothesis):
            counts.drop("empty sentence")
        else:
            yield row


def make_triplets(rows: Iterable[Inference], seed: int) -> list[Triplet]:
    """The triples of one file, the same for the same rows and seed."""
    related: dict[str, dict[str, dict[str, None]]] = {}
    for premise, hypothesis, label in rows:
        for sentence, other in ((premise, hypothesis), (hypothesis, premise)):
            by_label = related.setdefault(sentence, {name: {} for name in LABELS})
            by_label[label][other] = None
    pick = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    triples: list[Triplet] = []
    for sentence, by_label in related.items():
        entailed, contradicting = list(by_label["entailment"]), list(by_label["contradiction"])
        if entailed and contradicting:
            triples.append(Triplet(sentence, pick.choice(entailed), pick.choice(contradicting)))
            triples.append(Triplet(pick.choice(entailed), sentence, pick.choice(contradicting)))
    return triples


class Scored(NamedTuple):
    """Two sentences and how alike they are, 0 to 1."""

    sentence1: str
    sentence2: str
    score: float


def read_sts(address: str, source: StsSource, counts: RowCounts) -> Iterator[Scored]:
    """The rows of one file; a row with an empty sentence, or without a score from 0 to `max_score`, is dropped."""
    rows = _klue(address, counts) if ".json" in address else read_table(address, source.columns, counts)
    for first, second, written in rows:
        row = Scored(clean(first), clean(second), _number(written) / source.max_score)
        if not (row.sentence1 and row.sentence2):
            counts.drop("empty sentence")
        elif not 0 <= row.score <= 1:
            counts.drop("no score, or one out of range")
        else:
            yield row


def _klue(address: str, counts: RowCounts) -> Iterator[tuple[str, str, str]]:
    for record in read_records(address):
        counts.read += 1
        yield record["sentence1"], record["sentence2"], str(record["labels"]["label"])


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan


class Paraphrase(NamedTuple):
    """Two texts of like meaning and their group; texts of one group are never each other's negatives."""

    anchor: str
    positive: str
    group: str


class Group(NamedTuple):
    """Texts that all mean the same."""

    name: str
    texts: tuple[str, ...]


def read_groups(address: str, source: GroupsSource, counts: RowCounts) -> Iterator[Group]:
    """The groups of one file; empty and repeated texts are dropped, and a group that then has fewer than two."""
    lines = (line for line in read_lines(address) if line)
    number = 0
    while chunk := list(islice(lines, source.group_size)):
        counts.read += len(chunk)
        texts: dict[str, None] = {}
        for line in chunk:
            cells = line.split("\t")
            text = clean(cells[source.text_column]) if source.text_column < len(cells) else ""
            if not text:
                counts.drop("no text in that column")
            elif text in texts:
                counts.drop("repeated in its group")
            else:
                texts[text] = None
        if len(texts) > 1:
            yield Group(_name(address, number), tuple(texts))
        elif texts:
            counts.drop("alone in its group")
        number += 1


def make_pairs(groups: Iterable[Group], pairs_per_group: int, seed: int) -> list[Paraphrase]:
    """Pairs of each group, the same for the same seed.

    The texts of a group are shuffled into a ring; first each is paired with its neighbour, then with the one after
    that, and so on, so that every text is used as often as any other.
    """
    shuffle = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    pairs: list[Paraphrase] = []
    for group in groups:
        texts = list(group.texts)
        shuffle.shuffle(texts)
        ring = sorted(combinations(range(len(texts)), 2), key=lambda ends: _distance(ends, len(texts)))
        pairs.extend(Paraphrase(texts[i], texts[j], group.name) for i, j in ring[:pairs_per_group])
    return pairs


def _name(address: str, number: int) -> str:
    return f"{PurePosixPath(address).name}:{number}"


def _distance(ends: tuple[int, int], size: int) -> int:
    return min(ends[1] - ends[0], size - (ends[1] - ends[0]))


def read_pairs(address: str, source: PairsSource, counts: RowCounts) -> Iterator[Paraphrase]:
    """The pairs of one file; empty texts, pairs of twice the same text and pairs with another label are dropped."""
    columns = (*source.columns, *([source.label] if source.label else []))
    for number, (first, second, *label) in enumerate(read_table(address, columns, counts)):
        anchor, positive = clean(first), clean(second)
        if label and label[0].strip() != source.same:
            counts.drop("not alike by its label")
        elif not (anchor and positive):
            counts.drop("empty text")
        elif anchor == positive:
            counts.drop("twice the same text")
        else:
            yield Paraphrase(anchor, positive, _name(address, number))
