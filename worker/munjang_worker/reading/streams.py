"""Input files as streams of bytes: hashed while they are read, decompressed. What is in them is left to the formats."""

from __future__ import annotations

import hashlib
import io
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from munjang.errors import InvalidJob
from munjang_worker.storage import CHUNK, open_fs

if TYPE_CHECKING:
    from collections.abc import Callable


def open_source(url: str) -> IO[bytes]:
    """Open an input file as it is stored.

    Raises:
        InvalidJob: it cannot be opened.
    """
    fs, path = open_fs(url, "input")
    try:
        file: IO[bytes] = fs.open(path, "rb")
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        msg = f"input: {url!r} cannot be read: {error}"
        raise InvalidJob(msg, field="input") from error
    return file


class HashingStream(io.RawIOBase):
    """Reads a file, closes it at the end, and knows the size and sha256 of what was read.

    Attributes:
        size: bytes read so far.
        failure: what the file itself raised, if it did.
    """

    def __init__(self, file: IO[bytes], poll: Callable[[], None] = lambda: None, limit: int | None = None) -> None:
        """Wrap a file.

        Args:
            file: what to read, from where it stands.
            poll: is called at every read of about a megabyte.
            limit: the most bytes to read; None reads to the end.
        """
        self._file = file
        self._poll = poll
        self._left = limit
        self._digest = hashlib.sha256()
        self.size = 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read some bytes."""
        self._poll()
        length = len(buffer) if self._left is None else min(len(buffer), self._left - self.size)
        try:
            data = self._file.read(length)
        except OSError as error:
            self.failure = error
            raise
        buffer[: len(data)] = data
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def finish(self) -> str:
        """Read what is left, and return the sha256 of the whole file in hexadecimal."""
        while self.read(CHUNK):
            pass
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


def decompressed(stream: HashingStream, compression: str) -> IO[bytes]:
    """The plain bytes of a file, buffered.

    Reading it raises InvalidJob where the compressed data is damaged or breaks off in the middle.
    """
    buffered = io.BufferedReader(stream, CHUNK)
    return io.BufferedReader(_Decompressor(stream, buffered, compression), CHUNK) if compression else buffered


class _Decompressor(io.RawIOBase):
    """What pyarrow decompresses, as a Python stream; pyarrow's own cannot read lines."""

    def __init__(self, raw: HashingStream, buffered: IO[bytes], compression: str) -> None:
        self._raw = raw
        self._buffered = buffered
        self._plain = pa.CompressedInputStream(pa.PythonFile(buffered, mode="r"), compression)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._plain.read(len(buffer))
        except OSError as error:
            if self._raw.failure:
                raise self._raw.failure from error
            msg = f"input: a compressed file is damaged or incomplete: {error}"
            raise InvalidJob(msg, field="input") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._buffered.close()
        super().close()
