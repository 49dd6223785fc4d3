"""Every store keeps what it is given and finds what is nearest, for every kind of vector that it says it can hold."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from munjang.encoder import similarity
from munjang.errors import SpaceMismatch
from munjang.index.layout import Layout, Rows, agree, content_hash, to_float
from munjang.vectors import Precision, quantize_int8

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, DIMENSIONS, K = 300, 24, 10
PRECISIONS = (Precision.FLOAT32, Precision.FLOAT16, Precision.INT8, Precision.UBINARY)
FUNCTIONS = ("cosine", "dot", "euclidean", "manhattan")
COLUMNS = (("title", "text"), ("count", "int"), ("share", "float"), ("good", "bool"))


def layout_of(precision: Precision, function: str, id_type: str = "str") -> Layout:
    number = PRECISIONS.index(precision) * 16 + FUNCTIONS.index(function) + 1
    return Layout(
        space_id=f"{number:02x}" * 16,
        dimensions=DIMENSIONS,
        precision=precision,
        similarity=function,
        int8_scale=1 / 100 if precision is Precision.INT8 else 0.0,
        id_type=id_type,
        columns=COLUMNS,
        text_column="title",
    )


def vectors_of(layout: Layout, count: int = ROWS) -> NDArray[Any]:
    drawn = np.random.default_rng(3).standard_normal((count, DIMENSIONS)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    match layout.precision:
        case Precision.FLOAT16:
            return drawn.astype("<f2")
        case Precision.INT8:
            return quantize_int8(drawn, layout.int8_scale)
        case Precision.UBINARY:
            return np.packbits(drawn > 0, axis=1)
    return drawn


def rows_of(layout: Layout, count: int = ROWS) -> Rows:
    names = [n if layout.id_type == "int" else f"글 '{n}' \"x\"\\" for n in range(-3, count - 3)]
    return Rows(
        ids=names,
        vectors=vectors_of(layout, count),
        versions=[7] * count,
        hashes=[content_hash(f"글 {n}", [n]) for n in range(count)],
        columns={
            "title": [None, "", *(f"제목 '{n}'\n둘째 줄" for n in range(2, count))],
            "count": [None, *range(1, count)],
            "share": [None, *(n / 3 for n in range(1, count))],
            "good": [None, *(n % 2 == 0 for n in range(1, count))],
        },
    )


def ordered(rows: Rows, ids: list[Any]) -> Rows:
    places = {one: place for place, one in enumerate(rows.ids)}
    assert len(places) == len(rows)
    return rows.take([places[one] for one in ids])


def exact(vectors: NDArray[Any], layout: Layout, queries: int) -> NDArray[np.float32]:
    """The scores of the nearest rows of the first rows as queries."""
    plain = to_float(vectors, layout)
    if layout.precision is Precision.UBINARY:
        scores = plain[:queries] @ plain.T / DIMENSIONS
    else:
        scores = similarity.matrix(plain[:queries], plain, layout.similarity)
    return -np.sort(-scores, axis=1)[:, :K]


def test_a_store_keeps_rows_and_finds_the_nearest_of_every_kind_that_it_holds(url, opened) -> None:
    tables = opened(url)
    sink = tables.sink
    held = 0
    for precision, function in product(PRECISIONS, FUNCTIONS):
        layout = layout_of(precision, function)
        if sink.supports(layout):
            continue
        held += 1
        rows = rows_of(layout)
        table = tables.ensure(layout)
        sink.upsert(table, layout, rows)
        sink.upsert(table, layout, rows.take(range(50)))  # again: each stays there once
        sink.finish(table, layout)
        assert sink.count(table) == ROWS
        kept = ordered(sink.fetch(table, layout, [*rows.ids[:60], "none"]), rows.ids[:60])
        given = rows.take(range(60))
        assert agree(kept.vectors, given.vectors, layout).all(), (precision, function)
        assert (kept.columns, kept.hashes, kept.versions) == (given.columns, given.hashes, given.versions)
        hits = sink.search(table, layout, rows.vectors[:5], K)
        scores = np.array([[hit.score for hit in found] for found in hits])
        np.testing.assert_allclose(scores, exact(rows.vectors, layout, 5), atol=2e-3, err_msg=f"{precision} {function}")
        best = hits[4][0]
        if precision is Precision.FLOAT32 and function != "dot":
            assert (best.id, best.version) == (rows.ids[4], 7)
            assert best.columns == {name: values[4] for name, values in rows.columns.items()}
    assert held >= 6


@pytest.mark.parametrize("id_type", ["int", "str"])
def test_rows_are_marked_changed_and_deleted_by_id(url, opened, id_type) -> None:
    tables = opened(url)
    sink, layout = tables.sink, layout_of(Precision.FLOAT32, "cosine", id_type)
    table, rows = tables.ensure(layout), rows_of(layout)
    sink.upsert(table, layout, rows)
    changed = rows.take([5, 6])
    changed.hashes, changed.versions = ["a" * 48, "b" * 48], [8, 8]
    changed.columns["title"] = ["새 제목", None]
    changed.vectors = rows.vectors[[7, 8]]
    sink.upsert(table, layout, changed)
    sink.delete(table, [*rows.ids[:4], rows.ids[0]])
    marks = {mark.id: mark for piece in sink.marks(table, layout) for mark in piece}
    assert marks.keys() == set(rows.ids[4:])
    assert sink.count(table) == ROWS - 4
    assert (marks[rows.ids[5]].content_hash, marks[rows.ids[5]].version) == ("a" * 48, 8)
    assert marks[rows.ids[7]].content_hash == rows.hashes[7]
    kept = ordered(sink.fetch(table, layout, rows.ids[5:7]), rows.ids[5:7])
    assert kept.columns["title"] == ["새 제목", None]
    assert agree(kept.vectors, changed.vectors, layout).all()


def test_a_table_refuses_rows_of_another_space_or_of_other_options(url, opened) -> None:
    tables = opened(url)
    layout = layout_of(Precision.FLOAT32, "cosine")
    table = tables.ensure(layout)
    likeness = Layout.of_dict(layout.as_dict() | {"space_id": layout.space_id[:12] + "f" * 20})
    with pytest.raises(SpaceMismatch, match="space_id"):
        tables.ensure(likeness)
    with pytest.raises(SpaceMismatch, match="of prompt_name"):
        tables.ensure(Layout.of_dict(layout.as_dict() | {"prompt_name": "passage"}))
    assert tables.layout(table) == layout


def test_what_a_store_knows_survives_its_closing_and_a_table_can_be_dropped(url, opened) -> None:
    tables = opened(url)
    layout = layout_of(Precision.FLOAT32, "dot")
    table = tables.ensure(layout)
    tables.sink.upsert(table, layout, rows_of(layout))
    tables.sink.switch("faq", table, layout)
    tables.sink.put("x", "1", {"말": "첫째"})
    tables.sink.put("x", "1", {"말": "둘째"})
    tables.sink.put("x", "2", {})
    tables.sink.close()
    again = opened(url)
    assert again.sink.count(table) == ROWS
    assert again.sink.records("x") == {"1": {"말": "둘째"}, "2": {}}
    other = again.ensure(layout_of(Precision.FLOAT32, "cosine"))
    again.sink.switch("faq", other, again.layout(other))
    again.drop(table)
    again.drop(table)
    again.sink.forget("x")
    assert again.sink.records("x") == {}
    assert again.sink.records(table) == {}
    assert again.sink.count(again.ensure(layout)) == 0
