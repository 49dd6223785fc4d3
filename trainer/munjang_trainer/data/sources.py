"""A source of a recipe becomes a table to train on and, where something is held out, one to evaluate on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, assert_never

from munjang_trainer.data.files import Tally, locate, read_table
from munjang_trainer.data.nli import Triple, make_triples, read_nli
from munjang_trainer.data.paraphrase import Group, make_pairs, read_groups, read_pairs
from munjang_trainer.data.split import split
from munjang_trainer.data.sts import read_sts
from munjang_trainer.data.table import Table
from munjang_trainer.data.text import clean
from munjang_trainer.recipe.data import GroupsSource, NliSource, PairsSource, StsSource, TripletsSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from munjang_trainer.recipe.data import Source

Row = TypeVar("Row")


class Loaded(NamedTuple):
    """What a source gave: tables to train on and to evaluate on, and the count of its rows."""

    train: Table
    held_out: Table
    tally: Tally


def load(source: Source, folder: str, seed: int) -> Loaded:
    """Read a source's files, hold out what it says, and make tables of both sides.

    Raises:
        ConfigurationError: a file cannot be read, or has other columns.
    """
    tally = Tally()
    addresses = [locate(folder, file) for file in source.files]
    match source:
        case NliSource():
            train, held = _nli(source, addresses, seed, tally)
        case StsSource():
            train, held = _plain("sts", source, (row for a in addresses for row in read_sts(a, source, tally)), seed)
        case TripletsSource():
            train, held = _plain("triplets", source, _read_triplets(source, addresses, tally), seed)
        case GroupsSource():
            groups = _sides(source, [row for a in addresses for row in read_groups(a, source, tally)], _texts, seed)
            train = Table("pairs", list(make_pairs(groups[0], source.pairs_per_group, seed)))
            held = _group_table(groups[1])
        case PairsSource():
            pairs = _sides(source, [row for a in addresses for row in read_pairs(a, source, tally)], _two, seed)
            train = Table("pairs", list(pairs[0]))
            held = _group_table(Group(pair.group, (pair.anchor, pair.positive)) for pair in pairs[1])
        case _:
            assert_never(source)
    return Loaded(train, held, tally)


def load_whole(source: Source, folder: str, seed: int) -> tuple[Table, Tally]:
    """Read a source for evaluation: all of it, in the form that its held-out part would have."""
    if isinstance(source, GroupsSource):
        tally = Tally()
        return _group_table(g for file in source.files for g in read_groups(locate(folder, file), source, tally)), tally
    loaded = load(source.model_copy(update={"hold_out": None}), folder, seed)
    if isinstance(source, PairsSource):
        return _group_table(Group(row[2], row[:2]) for row in loaded.train.rows), loaded.tally
    return loaded.train, loaded.tally


def _nli(source: NliSource, addresses: list[str], seed: int, tally: Tally) -> tuple[Table, Table]:
    trained: list[Triple] = []
    held_out: list[Triple] = []
    for position, address in enumerate(addresses):
        rows = list(read_nli(address, tally, keep_empty=source.keep_empty))
        train, held = _sides(source, rows, _two, seed)
        trained.extend(make_triples(train, seed + position))
        held_out.extend(make_triples(held, seed + position))
    return Table("triplets", list(trained)), Table("triplets", list(held_out))


def _plain(kind: Any, source: Source, rows: Iterable[tuple[Any, ...]], seed: int) -> tuple[Table, Table]:
    train, held = _sides(source, list(rows), _strings, seed)
    return Table(kind, train), Table(kind, held)


def _sides(
    source: Source, rows: list[Row], texts_of: Callable[[Row], Iterable[str]], seed: int
) -> tuple[list[Row], list[Row]]:
    return split(rows, texts_of, source.hold_out, seed)


def _read_triplets(source: TripletsSource, addresses: list[str], tally: Tally) -> Iterator[Triple]:
    for address in addresses:
        for row in read_table(address, source.columns, tally):
            triple = Triple(*map(clean, row))
            if all(triple):
                yield triple
            else:
                tally.drop("empty text")


def _group_table(groups: Iterable[Group]) -> Table:
    return Table("groups", [(text, group.name) for group in groups for text in group.texts])


def _texts(group: Group) -> Iterable[str]:
    return group.texts


def _two(row: tuple[Any, ...]) -> Iterable[str]:
    return row[:2]


def _strings(row: tuple[Any, ...]) -> Iterable[str]:
    return (value for value in row if isinstance(value, str))
