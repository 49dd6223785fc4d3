"""Parquet: ids, carried columns and vectors as fixed-size lists (ubinary: fixed-size binary), options in the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from munjang.vectors import Precision, row_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang_worker.plan import Plan

GROUP_ROWS = 8192
"""Rows of one row group: what is held in memory until it is written."""

_TYPES = {Precision.FLOAT32: pa.float32(), Precision.FLOAT16: pa.float16(), Precision.INT8: pa.int8()}


class ParquetWriter:
    """One Parquet file."""

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
        """See `ShardWriter.write`."""
        self._waiting.append(table.append_column(self._schema.field("vector"), _array(vectors, self._kind)))
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """See `ShardWriter.close`."""
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(self._schema), GROUP_ROWS)
            self._waiting = []


def _vector_type(plan: Plan) -> pa.DataType:
    precision = plan.spec.precision
    if precision is Precision.UBINARY:
        return pa.binary(row_bytes(plan.dimensions, precision))
    return pa.list_(pa.field("element", _TYPES[precision], nullable=False), plan.dimensions)


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
