"""A .npy file of float32 rows that is written as the rows come, and stands under its name only once it is whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import numpy as np

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray


class NpyWriter:
    """Write rows, then give the file its name when the `with` block ends without an error.

    Attributes:
        rows: written so far.
        columns: of each row; 0 before the first.
    """

    def __init__(self, path: Path) -> None:
        """Open a file beside `path`.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self.rows = 0
        self.columns = 0
        self._path = path
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self._file = self._partial.open("wb")
        except OSError as error:
            msg = f"{path} cannot be written: {error.strerror}"
            raise ConfigurationError(msg, field="npy") from error

    def write(self, rows: NDArray[np.float32]) -> None:
        """Append rows [n, d]."""
        if not self.rows:
            self.columns = rows.shape[1]
            self._header()
        self._file.write(np.ascontiguousarray(rows, "<f4").data)
        self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None:
                self._file.seek(0)
                self._header()
                self._file.close()
                self._partial.replace(self._path)
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def _header(self) -> None:
        """Numpy leaves room in the header for more rows, so the last one is as long as the first."""
        shape = {"shape": (self.rows, self.columns), "fortran_order": False, "descr": "<f4"}
        np.lib.format.write_array_header_1_0(self._file, shape)
