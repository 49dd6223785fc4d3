"""The input files of a job: which files it names, and each as a stream of bytes, hashed and decompressed.

The format modules decide what the bytes mean.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
from fsspec.core import has_magic
from fsspec.utils import glob_translate

from munjang.bulk import ERRORS, MANIFEST
from munjang.bulk.job import absolute
from munjang.errors import InvalidJob
from munjang_worker.storage import CHUNK, confine, open_fs
from munjang_worker.writers import part_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.bulk.job import JobSpec

FORMATS = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "txt": "txt",
    "text": "txt",
    "parquet": "parquet",
    "pq": "parquet",
}

COMPRESSIONS = {"gz": "gzip", "zst": "zstd", "zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Source:
    """One input file: its path or URL, its format, and "", "gzip" or "zstd"."""

    url: str
    format: str
    compression: str


def find_sources(spec: JobSpec, roots: tuple[str, ...]) -> list[Source]:
    """The files of a job, sorted by name; of a folder those with a known suffix, hidden ones left out.

    Raises:
        InvalidJob: there are none, they are outside of the roots, of unknown or different formats, or hold the output.
    """
    confine(_fixed_part(spec.input), roots, "input")
    fs, path = open_fs(spec.input, "input")
    try:
        urls, chosen = _list(fs, path)
    except FileNotFoundError:
        urls, chosen = [], True
    except PermissionError as error:
        msg = f"input: {spec.input!r} cannot be listed: {error}"
        raise InvalidJob(msg, field="input") from error
    for url in urls:
        confine(url, roots, "input")
    if _takes_output(spec, folder=not chosen):
        msg = f"the input holds the output folder {spec.output!r}: choose a folder elsewhere"
        raise InvalidJob(msg, field="output")
    sources = [source for url in urls if (source := _source(url, spec, chosen=chosen))]
    if not sources:
        msg = f"input: there is no file {spec.input!r} that can be read; known are {', '.join(sorted(FORMATS))}"
        raise InvalidJob(msg, field="input")
    formats = sorted({source.format for source in sources})
    if len(formats) > 1:
        msg = f"input: the files are of different formats ({', '.join(formats)}); give a glob that takes one kind"
        raise InvalidJob(msg, field="input")
    return sources


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
            file: what to read, from its current position.
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


def _list(fs: Any, path: str) -> tuple[list[str], bool]:
    """The files, and whether each was chosen by name (and not just found in a folder)."""
    if has_magic(path) and not fs.exists(path):
        return sorted(_url(fs, name) for name in _files(fs, fs.glob(path, detail=True))), True
    if fs.isdir(path):
        found = _files(fs, fs.find(path, detail=True))
        return sorted(_url(fs, name) for name in found if not _hidden(name[len(path) :])), False
    return ([_url(fs, path)] if fs.exists(path) else []), True


def _files(fs: Any, found: dict[str, Any]) -> list[str]:
    """Files and links to files."""
    return [
        name
        for name, info in found.items()
        if info["type"] != "directory" and not (info.get("islink") and fs.isdir(name))
    ]


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _takes_output(spec: JobSpec, *, folder: bool) -> bool:
    """Whether the input would name files that the job itself writes: if not now, then when it is resumed."""
    if folder:
        output, root = _real(spec.output), _real(spec.input)
        return output == root or (output.startswith(root + "/") and not _hidden(output[len(root) :]))
    names = (MANIFEST, ERRORS, *part_names(spec.format, 0, 1))
    pattern = glob_translate(spec.input)
    return any(re.match(pattern, f"{spec.output}/{name}") for name in names)


def _real(url: str) -> str:
    return url if "://" in url else os.path.realpath(url)


def _url(fs: Any, path: str) -> str:
    return absolute(fs.unstrip_protocol(path))


def _source(url: str, spec: JobSpec, *, chosen: bool) -> Source | None:
    suffixes = url.rsplit("/", 1)[-1].lower().split(".")[1:]
    compression = COMPRESSIONS.get(suffixes[-1], "") if suffixes else ""
    if compression:
        suffixes.pop()
    known = FORMATS.get(suffixes[-1], "") if suffixes else ""
    if not chosen and not known:
        return None
    kind = known if spec.input_format == "auto" else spec.input_format
    if not kind:
        msg = f"input: the name of {url!r} does not say its format; name it with input_format"
        raise InvalidJob(msg, field="input_format")
    return Source(url, kind, compression)


def _fixed_part(pattern: str) -> str:
    """The path up to the first part with a wildcard."""
    parts = pattern.split("/")
    fixed = next((index for index, part in enumerate(parts) if has_magic(part)), len(parts))
    return "/".join(parts[:fixed]) or "/"
