"""NumPy: a matrix in a .npy file, and beside it a JSONL file with id, carried columns and version of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.vectors import Precision, row_bytes
from munjang_worker.writing.plain import dumps

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from munjang_worker.plan import Plan

_HEADER_BYTES = 128
"""Room for the header, which says how many rows there are and so is written last."""

_TYPES = {Precision.FLOAT32: "<f4", Precision.FLOAT16: "<f2", Precision.INT8: "|i1", Precision.UBINARY: "|u1"}


class NpyWriter:
    """One .npy file and its ids."""

    def __init__(self, path: Path, ids: Path, plan: Plan) -> None:
        precision = plan.spec.precision
        self._type = np.dtype(_TYPES[precision])
        self._width = row_bytes(plan.dimensions, precision) // self._type.itemsize
        self._version = plan.version
        self._rows = 0
        self._matrix = path.open("wb")
        self._ids = ids.open("w", encoding="utf-8")
        self._matrix.write(b"\0" * _HEADER_BYTES)

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        """See `ShardWriter.write`."""
        self._matrix.write(np.ascontiguousarray(vectors, self._type).tobytes())
        self._rows += len(vectors)
        for row in table.to_pylist():
            self._ids.write(dumps(row | {"version": self._version}) + "\n")

    def close(self) -> None:
        """See `ShardWriter.close`."""
        self._matrix.seek(0)
        self._matrix.write(self._header())
        self._matrix.close()
        self._ids.close()

    def _header(self) -> bytes:
        text = repr({"descr": self._type.str, "fortran_order": False, "shape": (self._rows, self._width)})
        start = np.lib.format.magic(1, 0)
        room = _HEADER_BYTES - len(start) - 2
        return start + room.to_bytes(2, "little") + text.encode("latin1").ljust(room - 1) + b"\n"
