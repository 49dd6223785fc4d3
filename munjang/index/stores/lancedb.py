"""LanceDB: a folder on a disk or in an object store, without a server; several processes may read and write it.

float32 and float16 are kept as such, int8 as float16, which has every int8 value, and bits as bytes that are compared
by Hamming distance; there is no Manhattan distance. Up to EXACT_ROWS rows a search compares all of them, which takes
milliseconds; larger tables get an IVF index, and a search re-ranks what it finds by the stored vectors.
LanceDB has no names for tables: munjang's record says which one is meant.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lancedb
import numpy as np
import pyarrow as pa

from munjang.errors import ConfigurationError, StoreUnavailable
from munjang.index.layout import Hit, Mark, Rows
from munjang.index.sink import RECORDS
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.index.address import Address
    from munjang.index.layout import Layout

EXACT_ROWS = 100_000
"""Up to so many rows there is no index; LanceDB advises none below."""

PARTITION_ROWS = 4096
"""Rows of one partition of an index."""

PROBES = 0.2
"""The share of the partitions that a search reads."""

KEEP = timedelta(days=7)
"""How long former states of a table stay on the disk after `finish`: readers may still be at them."""

IDS = 1000
"""Ids of one condition."""

_DISTANCES = {"cosine": "cosine", "dot": "dot", "euclidean": "l2"}
_COLUMNS = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
_RECORD = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("scope", "key", "value")])


def open_store(address: Address) -> LanceDb:
    """Open the folder; it is made with the first table.

    Raises:
        StoreUnavailable: the place cannot be read or written.
    """
    return LanceDb(address.location)


class LanceDb:
    """The sink of one folder."""

    def __init__(self, location: str) -> None:
        with _answering():
            self._database = lancedb.connect(location)
            self._records = self._database.create_table(RECORDS, schema=_RECORD, exist_ok=True)

    def supports(self, layout: Layout) -> str:
        """See `Sink`."""
        if layout.precision is not Precision.UBINARY and layout.similarity not in _DISTANCES:
            return f"LanceDB has no {layout.similarity} distance"
        return ""

    def create(self, table: str, layout: Layout) -> None:
        """See `Sink`."""
        with _answering():
            self._database.create_table(table, schema=_schema(layout), exist_ok=True)

    def upsert(self, table: str, layout: Layout, rows: Rows) -> None:
        """See `Sink`: all of it is one commit."""
        schema = _schema(layout)
        kind = schema.field("vector").type
        flat = np.ascontiguousarray(rows.vectors.astype(kind.value_type.to_pandas_dtype())).reshape(-1)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind)
        columns = [rows.ids, vectors, rows.versions, rows.hashes, *(rows.columns[name] for name in layout.column_names)]
        arrays = [
            one if isinstance(one, pa.Array) else pa.array(one, field.type)
            for one, field in zip(columns, schema, strict=True)
        ]
        data = pa.Table.from_arrays(arrays, schema=schema)
        with _answering():
            merge = self._open(table).merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(data)

    def finish(self, table: str, layout: Layout) -> None:
        """See `Sink`: also merges small files."""
        with _answering():
            opened = self._open(table)
            opened.optimize(cleanup_older_than=KEEP)
            rows = opened.count_rows()
            if rows > EXACT_ROWS and not opened.list_indices():
                opened.create_index(
                    metric=_distance(layout),
                    vector_column_name="vector",
                    index_type="IVF_FLAT",
                    num_partitions=rows // PARTITION_ROWS,
                )

    def count(self, table: str) -> int:
        """See `Sink`."""
        with _answering():
            return int(self._open(table).count_rows())

    def delete(self, table: str, ids: Sequence[Any]) -> None:
        """See `Sink`."""
        with _answering():
            opened = self._open(table)
            for condition in _conditions(ids):
                opened.delete(condition)

    def marks(self, table: str, layout: Layout) -> Iterator[list[Mark]]:  # noqa: ARG002 - the columns are always so
        """See `Sink`: of one state of the table."""
        with _answering():
            query = self._open(table).search().select(["id", "content_hash", "version"])
            for batch in query.to_batches():
                yield [Mark(row["id"], row["content_hash"], row["version"]) for row in batch.to_pylist()]

    def fetch(self, table: str, layout: Layout, ids: Sequence[Any]) -> Rows:
        """See `Sink`."""
        with _answering():
            opened = self._open(table)
            parts = [opened.search().where(one).limit(IDS).to_arrow() for one in _conditions(ids)]
        found = pa.concat_tables([_schema(layout).empty_table(), *parts])
        flat = found.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Rows(
            ids=found.column("id").to_pylist(),
            vectors=flat.reshape(len(found), layout.width).astype(layout.dtype),
            versions=found.column("version").to_pylist(),
            hashes=found.column("content_hash").to_pylist(),
            columns={name: found.column(name).to_pylist() for name in layout.column_names},
        )

    def search(self, table: str, layout: Layout, queries: NDArray[Any], k: int) -> list[list[Hit]]:
        """See `Sink`."""
        names = ["id", "version", *layout.column_names, "_distance"]
        found: list[list[Hit]] = []
        with _answering():
            opened = self._open(table)
            partitions = opened.count_rows() // PARTITION_ROWS
            for vector in queries.astype(_schema(layout).field("vector").type.value_type.to_pandas_dtype()):
                query = opened.search(vector, vector_column_name="vector").distance_type(_distance(layout))
                query = query.nprobes(max(20, int(partitions * PROBES))).select(names).limit(k)
                found.append([_hit(row, layout) for row in query.to_list()])
        return found

    def switch(self, name: str, table: str, layout: Layout) -> None:
        """See `Sink`: LanceDB has no such names."""

    def drop(self, table: str) -> None:
        """See `Sink`."""
        with _answering():
            self._database.drop_table(table, ignore_missing=True)

    def put(self, scope: str, key: str, value: dict[str, Any]) -> None:
        """See `Sink`."""
        row = pa.Table.from_pylist([{"scope": scope, "key": key, "value": json.dumps(value)}], schema=_RECORD)
        with _answering():
            merge = self._records.merge_insert(["scope", "key"])
            merge.when_matched_update_all().when_not_matched_insert_all().execute(row)

    def records(self, scope: str) -> dict[str, dict[str, Any]]:
        """See `Sink`."""
        with _answering():
            self._records.checkout_latest()
            rows = self._records.search().where(f"scope = {_quoted(scope)}").to_batches()
            return {row["key"]: json.loads(row["value"]) for batch in rows for row in batch.to_pylist()}

    def forget(self, scope: str) -> None:
        """See `Sink`."""
        with _answering():
            self._records.delete(f"scope = {_quoted(scope)}")

    def close(self) -> None:
        """See `Sink`: nothing is open between calls."""

    def _open(self, table: str) -> Any:
        """The table in its newest state."""
        return self._database.open_table(table)


@contextmanager
def _answering() -> Iterator[None]:
    """Tell of a place that is away, and of what LanceDB refuses, in munjang's errors."""
    try:
        yield
    except OSError as error:
        msg = f"LanceDB cannot read or write: {error}"
        raise StoreUnavailable(msg) from error
    except (RuntimeError, ValueError) as error:
        msg = f"LanceDB refuses it: {error}"
        raise ConfigurationError(msg, field="url") from error


def _schema(layout: Layout) -> pa.Schema:
    kinds = {Precision.FLOAT32: pa.float32(), Precision.UBINARY: pa.uint8()}
    component = pa.field("item", kinds.get(layout.precision, pa.float16()))
    fields = [
        pa.field("id", pa.int64() if layout.id_type == "int" else pa.string(), nullable=False),
        pa.field("vector", pa.list_(component, layout.width), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
    ]
    return pa.schema(fields + [pa.field(name, _COLUMNS[kind]) for name, kind in layout.columns])


def _distance(layout: Layout) -> str:
    return "hamming" if layout.precision is Precision.UBINARY else _DISTANCES[layout.similarity]


def _conditions(ids: Sequence[Any]) -> Iterator[str]:
    for start in range(0, len(ids), IDS):
        listed = ", ".join(_quoted(one) if isinstance(one, str) else str(one) for one in ids[start : start + IDS])
        yield f"id IN ({listed})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _hit(row: dict[str, Any], layout: Layout) -> Hit:
    distance = float(row["_distance"])
    scale = layout.int8_scale if layout.precision is Precision.INT8 else 1.0
    match _distance(layout):
        case "cosine":
            score = 1 - distance
        case "dot":  # LanceDB's is 1 - dot
            score = (1 - distance) * scale * scale
        case "hamming":
            score = 1 - 2 * distance / layout.dimensions
        case _:  # LanceDB's l2 is squared
            score = -(max(distance, 0.0) ** 0.5) * scale
    return Hit(row["id"], score, row["version"], {name: row[name] for name in layout.column_names})
