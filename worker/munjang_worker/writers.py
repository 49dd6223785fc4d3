"""Output files: one writer for each format. Committing them is left to `shard`."""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from munjang.vectors import Precision, row_bytes
from munjang_worker.column_types import json_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang_worker.plan import Plan

GROUP_ROWS = 8192
"""Rows of one row group: what is held in memory until it is written."""

_ARROW_TYPES = {Precision.FLOAT32: pa.float32(), Precision.FLOAT16: pa.float16(), Precision.INT8: pa.int8()}

_NUMPY_TYPES = {Precision.FLOAT32: "<f4", Precision.FLOAT16: "<f2", Precision.INT8: "|i1", Precision.UBINARY: "|u1"}

_HEADER_BYTES = 128
"""Space for the header, which holds the number of rows and so is written last."""


class ShardWriter(Protocol):
    """Writes the files of one shard, block by block."""

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        """Add rows: id and carried columns [n], and vectors [n, d] in the job's precision (ubinary: bytes [n, d/8])."""

    def close(self) -> None:
        """Finish the files."""


def part_names(output_format: str, number: int, shards: int) -> tuple[str, ...]:
    """The files of one of so many shards, in the order that a writer takes their paths; sorted, they are in order."""
    stem = f"part-{number:0{max(5, len(str(shards - 1)))}d}"
    match output_format:
        case "jsonl":
            return (f"{stem}.jsonl",)
        case "npy":
            return (f"{stem}.npy", f"{stem}.ids.jsonl")
        case _:
            return (f"{stem}.parquet",)


def open_writer(plan: Plan, paths: tuple[Path, ...], metadata: Mapping[str, str]) -> ShardWriter:
    """A writer of the job's format; `metadata` goes into the file if the format has a place for it."""
    match plan.spec.format:
        case "jsonl":
            return _JsonlWriter(paths[0], plan)
        case "npy":
            return _NpyWriter(paths[0], paths[1], plan)
        case _:
            return _ParquetWriter(paths[0], plan, metadata)


def dumps(row: Mapping[str, Any]) -> str:
    """A row as one line of JSON: times as ISO 8601, bytes as base64, numbers that are none or not finite as null."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=_text)
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=_text)


class _JsonlWriter:
    """One object per line: id, carried columns, version, space and vector. Numbers read back as the same float32."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._made_by = {"version": plan.version, "space_id": plan.space_id}
        self._number = "%d" if plan.spec.precision in {Precision.INT8, Precision.UBINARY} else "%.9g"

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        numbers = f"[{','.join([self._number] * vectors.shape[1])}]"
        for row, vector in zip(_rows(table), vectors.tolist(), strict=True):
            head = dumps(row | self._made_by)
            self._file.write(f'{head[:-1]}, "vector": {numbers % tuple(vector)}}}\n')

    def close(self) -> None:
        self._file.close()


class _NpyWriter:
    """A matrix in a .npy file, and beside it a JSONL file with id, carried columns, version and space of each row."""

    def __init__(self, path: Path, ids: Path, plan: Plan) -> None:
        precision = plan.spec.precision
        self._type = np.dtype(_NUMPY_TYPES[precision])
        self._width = row_bytes(plan.dimensions, precision) // self._type.itemsize
        self._made_by = {"version": plan.version, "space_id": plan.space_id}
        self._rows = 0
        self._matrix = path.open("wb")
        self._ids = ids.open("w", encoding="utf-8")
        self._matrix.write(b"\0" * _HEADER_BYTES)

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        self._matrix.write(np.ascontiguousarray(vectors, self._type).tobytes())
        self._rows += len(vectors)
        for row in _rows(table):
            self._ids.write(dumps(row | self._made_by) + "\n")

    def close(self) -> None:
        self._matrix.seek(0)
        self._matrix.write(self._header())
        self._matrix.close()
        self._ids.close()

    def _header(self) -> bytes:
        text = repr({"descr": self._type.str, "fortran_order": False, "shape": (self._rows, self._width)})
        start = np.lib.format.magic(1, 0)
        room = _HEADER_BYTES - len(start) - 2
        return start + room.to_bytes(2, "little") + text.encode("latin1").ljust(room - 1) + b"\n"


class _ParquetWriter:
    """Ids, carried columns and vectors as fixed-size lists (ubinary: fixed-size binary), options in the schema."""

    def __init__(self, path: Path, plan: Plan, metadata: Mapping[str, str]) -> None:
        columns = plan.chosen.schema
        self._kind = _vector_type(plan)
        self._schema = columns.append(pa.field("vector", self._kind, nullable=False)).with_metadata(dict(metadata))
        self._waiting: list[pa.Table] = []
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression={column.path: _compression(column.path) for column in _leaves(self._schema)},
            use_dictionary=[column.name for column in columns if pa.types.is_string(column.type)],
        )

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        self._waiting.append(table.append_column(self._schema.field("vector"), _array(vectors, self._kind)))
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(self._schema), GROUP_ROWS)
            self._waiting = []


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for values in zip(*map(json_values, table.columns), strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def _vector_type(plan: Plan) -> pa.DataType:
    precision = plan.spec.precision
    if precision is Precision.UBINARY:
        return pa.binary(row_bytes(plan.dimensions, precision))
    return pa.list_(pa.field("element", _ARROW_TYPES[precision], nullable=False), plan.dimensions)


def _array(vectors: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    flat = np.ascontiguousarray(vectors).reshape(-1)
    if pa.types.is_fixed_size_binary(kind):
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(vectors), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind)


def _leaves(schema: pa.Schema) -> list[pq.ColumnSchema]:
    """The Parquet columns that a schema is written as."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    leaves = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [leaves.column(index) for index in range(len(leaves))]


def _compression(path: str) -> str:
    return "none" if path.split(".", maxsplit=1)[0] == "vector" else "zstd"  # vectors do not compress


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
