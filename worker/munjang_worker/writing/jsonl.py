"""JSONL: one object a line with id, carried columns, version and vector. Numbers read back as the same float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.vectors import Precision
from munjang_worker.writing.plain import dumps

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from munjang_worker.plan import Plan


class JsonlWriter:
    """One JSONL file."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._version = plan.version
        self._number = "%d" if plan.spec.precision in {Precision.INT8, Precision.UBINARY} else "%.9g"

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        """See `ShardWriter.write`."""
        numbers = f"[{','.join([self._number] * vectors.shape[1])}]"
        for row, vector in zip(table.to_pylist(), vectors.tolist(), strict=True):
            head = dumps(row | {"version": self._version})
            self._file.write(f'{head[:-1]}, "vector": {numbers % tuple(vector)}}}\n')

    def close(self) -> None:
        """See `ShardWriter.close`."""
        self._file.close()
