"""Sources of a recipe become tables: KorNLI triplets, scored pairs, paraphrase groups, pairs, triplets, judgements.

The triplets of inference pairs follow the recipe that ko-sroberta-nli was trained with (source:
github.com/jhgan00/ko-sentence-transformers, data_util.py, after sentence-transformers' training_nli_v2.py). Each file
is processed alone, and each pair counts in both directions. Every sentence that has at least one entailment and at
least one contradiction gives two triplets, (sentence, e, c) and (e, sentence, c), each with its own random picks.
"""

from __future__ import annotations

import math
import random
from itertools import combinations, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, assert_never

from munjang_trainer.data.files import RowCounts, clean, read_lines, read_records, read_table, resolve_address
from munjang_trainer.data.leakage import split
from munjang_trainer.data.retrieval import read_beir, read_squad
from munjang_trainer.data.table import Table
from munjang_trainer.recipe.schema import (
    BeirSource,
    GroupsSource,
    NliSource,
    PairsSource,
    SquadSource,
    StsSource,
    TripletsSource,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from munjang_trainer.data.retrieval import Judgement
    from munjang_trainer.recipe.schema import FileSource

NLI_COLUMNS = ("sentence1", "sentence2", "gold_label")
Pair: TypeAlias = tuple[str, str, str]
"""Two texts of like meaning and their group; texts of one group are never each other's negatives."""

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


class Group(NamedTuple):
    """Texts that all mean the same."""

    name: str
    texts: tuple[str, ...]


class Loaded(NamedTuple):
    """What a source gave: tables to train on and to evaluate on, and the count of its rows."""

    train: Table
    held_out: Table
    counts: RowCounts


def load_source(source: FileSource, folder: str, seed: int) -> Loaded:
    """Read a source's files, hold out what it says, and make tables of both sides.

    Raises:
        ConfigurationError: a file cannot be read, or has other columns.
    """
    counts = RowCounts()
    addresses = [resolve_address(folder, file) for file in source.files]
    match source:
        case NliSource():
            return Loaded(*_nli_tables(source, addresses, seed, counts), counts)
        case StsSource():
            scored = [row for address in addresses for row in read_sts(address, source, counts)]
            rows = split(scored, lambda row: row[:2], source.hold_out, seed)
            return Loaded(Table("sts", list(rows[0])), Table("sts", list(rows[1])), counts)
        case TripletsSource():
            triplets = [row for address in addresses for row in _read_triplets(address, source, counts)]
            ready = split(triplets, lambda row: row, source.hold_out, seed)
            return Loaded(Table("triplets", list(ready[0])), Table("triplets", list(ready[1])), counts)
        case GroupsSource():
            groups = [row for address in addresses for row in read_groups(address, source, counts)]
            kept, held = split(groups, lambda group: group.texts, source.hold_out, seed)
            pairs = make_pairs(kept, source.pairs_per_group, seed)
            return Loaded(Table("pairs", list(pairs)), _group_table(held), counts)
        case PairsSource():
            alike = [row for address in addresses for row in read_pairs(address, source, counts)]
            sides = split(alike, lambda row: row[:2], source.hold_out, seed)
            return Loaded(Table("pairs", list(sides[0])), _pairs_as_groups(sides[1]), counts)
        case BeirSource() | SquadSource():
            judged = _read_judgements(source, addresses, counts)
            answers = [row for row in judged if row.query_id and row.relevance > 0]
            parts = split(answers, lambda row: (row.query, row.document), source.hold_out, seed)
            trained = [(row.query, row.document, row.document_id) for row in parts[0]]
            return Loaded(Table("pairs", list(trained)), Table("retrieval", list(parts[1])), counts)
        case _:
            assert_never(source)


def load_evaluation_source(source: FileSource, folder: str, seed: int) -> tuple[Table, RowCounts]:
    """Read a source for evaluation: all of it, in the form that its held-out part would have."""
    if isinstance(source, GroupsSource):
        counts = RowCounts()
        addresses = [resolve_address(folder, file) for file in source.files]
        return _group_table(group for address in addresses for group in read_groups(address, source, counts)), counts
    if isinstance(source, BeirSource | SquadSource):
        counts = RowCounts()
        addresses = [resolve_address(folder, file) for file in source.files]
        return Table("retrieval", list(_read_judgements(source, addresses, counts))), counts
    loaded = load_source(source.model_copy(update={"hold_out": None}), folder, seed)
    table = _pairs_as_groups(loaded.train.rows) if isinstance(source, PairsSource) else loaded.train
    return table, loaded.counts


def read_nli(
    address: str, counts: RowCounts, *, keep_empty: bool = False, encoding: str = "utf-8"
) -> Iterator[Inference]:
    """The rows of a KorNLI file: `sentence1 sentence2 gold_label`, tab separated, one header line, no quoting."""
    for premise, hypothesis, label in read_table(address, NLI_COLUMNS, counts, encoding):
        row = Inference(clean(premise), clean(hypothesis), label.strip())
        if row.label not in LABELS:
            counts.drop("unknown label")
        elif not keep_empty and not (row.premise and row.hypothesis):
            counts.drop("empty sentence")
        else:
            yield row


def make_triplets(rows: Iterable[Inference], seed: int) -> list[Triplet]:
    """The triplets of one file, the same for the same rows and seed."""
    related: dict[str, dict[str, dict[str, None]]] = {}
    for premise, hypothesis, label in rows:
        for sentence, other in ((premise, hypothesis), (hypothesis, premise)):
            by_label = related.setdefault(sentence, {name: {} for name in LABELS})
            by_label[label][other] = None
    pick = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    triplets: list[Triplet] = []
    for sentence, by_label in related.items():
        entailed, contradicting = list(by_label["entailment"]), list(by_label["contradiction"])
        if entailed and contradicting:
            triplets.append(Triplet(sentence, pick.choice(entailed), pick.choice(contradicting)))
            triplets.append(Triplet(pick.choice(entailed), sentence, pick.choice(contradicting)))
    return triplets


def read_sts(address: str, source: StsSource, counts: RowCounts) -> Iterator[tuple[str, str, float]]:
    """The two sentences and the score, 0 to 1, of each row of a file.

    A row with an empty sentence, or without a score from 0 to `max_score`, is dropped.
    """
    if ".json" in address:
        rows = _read_klue(address, counts, source.encoding)
    else:
        rows = read_table(address, source.columns, counts, source.encoding)
    for first, second, written in rows:
        sentence1, sentence2, score = clean(first), clean(second), _number(written) / source.max_score
        if not (sentence1 and sentence2):
            counts.drop("empty sentence")
        elif not 0 <= score <= 1:
            counts.drop("no score, or one out of range")
        else:
            yield sentence1, sentence2, score


def read_groups(address: str, source: GroupsSource, counts: RowCounts) -> Iterator[Group]:
    """The groups of one file; empty and repeated texts are dropped, and a group that then has fewer than two."""
    lines = (line for line in read_lines(address, source.encoding) if line)
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
            yield Group(_group_name(address, number), tuple(texts))
        elif texts:
            counts.drop("alone in its group")
        number += 1


def make_pairs(groups: Iterable[Group], pairs_per_group: int, seed: int) -> list[Pair]:
    """Pairs of each group, the same for the same seed.

    The texts of a group are shuffled into a ring. Each is paired with its neighbour, then with the one after
    that, and so on, so all texts are used equally often.
    """
    shuffle = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    pairs: list[Pair] = []
    for group in groups:
        texts = list(group.texts)
        shuffle.shuffle(texts)
        size = len(texts)
        ring = sorted(combinations(range(size), 2), key=lambda ends: min(ends[1] - ends[0], size - ends[1] + ends[0]))
        pairs.extend((texts[i], texts[j], group.name) for i, j in ring[:pairs_per_group])
    return pairs


def read_pairs(address: str, source: PairsSource, counts: RowCounts) -> Iterator[Pair]:
    """The pairs of one file, each a group of its own.

    Empty texts, pairs of twice the same text and pairs with another label are dropped.
    """
    columns = (*source.columns, *([source.label] if source.label else []))
    for number, (first, second, *label) in enumerate(read_table(address, columns, counts, source.encoding)):
        anchor, positive = clean(first), clean(second)
        if label and label[0].strip() != source.same:
            counts.drop("not alike by its label")
        elif not (anchor and positive):
            counts.drop("empty text")
        elif anchor == positive:
            counts.drop("twice the same text")
        else:
            yield anchor, positive, _group_name(address, number)


def _nli_tables(source: NliSource, addresses: list[str], seed: int, counts: RowCounts) -> tuple[Table, Table]:
    trained: list[Triplet] = []
    held_out: list[Triplet] = []
    for position, address in enumerate(addresses):
        rows = list(read_nli(address, counts, keep_empty=source.keep_empty, encoding=source.encoding))
        train, held = split(rows, lambda row: row[:2], source.hold_out, seed)
        trained.extend(make_triplets(train, seed + position))
        held_out.extend(make_triplets(held, seed + position))
    return Table("triplets", list(trained)), Table("triplets", list(held_out))


def _read_judgements(source: BeirSource | SquadSource, addresses: list[str], counts: RowCounts) -> list[Judgement]:
    if isinstance(source, BeirSource):
        corpus, queries, qrels = addresses
        return list(read_beir(corpus, queries, qrels, counts, source.encoding))
    return [row for address in addresses for row in read_squad(address, counts, source.encoding)]


def _read_triplets(address: str, source: TripletsSource, counts: RowCounts) -> Iterator[tuple[str, ...]]:
    for row in read_table(address, source.columns, counts, source.encoding):
        texts = tuple(map(clean, row))
        if all(texts):
            yield texts
        else:
            counts.drop("empty text")


def _read_klue(address: str, counts: RowCounts, encoding: str) -> Iterator[tuple[str, ...]]:
    for record in read_records(address, encoding):
        counts.read += 1
        yield record["sentence1"], record["sentence2"], str(record["labels"]["label"])


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan


def _group_name(address: str, number: int) -> str:
    return f"{PurePosixPath(address).name}:{number}"


def _group_table(groups: Iterable[Group]) -> Table:
    return Table("groups", [(text, group.name) for group in groups for text in group.texts])


def _pairs_as_groups(pairs: Iterable[tuple[Any, ...]]) -> Table:
    return _group_table(Group(group, (anchor, positive)) for anchor, positive, group in pairs)
