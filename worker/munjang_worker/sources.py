"""The input files of a job: which files it names, and each as a stream of bytes, hashed and decompressed.

The format modules decide what the bytes mean.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
from fsspec.core import has_magic
from fsspec.utils import glob_translate

from munjang.bulk import ERRORS, MANIFEST
from munjang.bulk.job import absolute
from munjang.encodings import SAMPLE_BYTES, better_encoding, composed, is_line_wise, printable, stored_path
from munjang.errors import InvalidJob
from munjang_worker.block import is_valid_text
from munjang_worker.plan import LeftOut
from munjang_worker.storage import CHUNK, confine, is_confined, is_local, open_fs
from munjang_worker.writers import part_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

ZSTD_WINDOW_MIB = 128
"""The largest window that zstd decompresses unless it is told otherwise."""

HIDDEN = "its name begins with . or _"
OUTSIDE = "a link that leads out of the places that this worker may use"

INVALID = "munjang.invalid"
"""How decoding handles bytes that are not valid: each is marked by an unpaired surrogate."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input file: its path or URL, its format, and "", "gzip" or "zstd"."""

    url: str
    format: str
    compression: str


def find_sources(spec: JobSpec, roots: tuple[str, ...], left_out: list[LeftOut] | None = None) -> list[Source]:
    """The files of a job, sorted by name; of a folder those with a known suffix, or all if the job names the format.

    Args:
        spec: the job.
        roots: where its files must lie, see `confine`.
        left_out: gets what a folder or glob holds and the job does not read.

    Raises:
        InvalidJob: there are none, they are outside of the roots, of unknown or different formats, or hold the output.
    """
    confine(_fixed_part(spec.input), roots, "input")
    fs, path = open_fs(spec.input, "input")
    try:
        found = _find_local(spec.input, roots) if is_local(fs) else _find_remote(fs, path, roots)
    except PermissionError as error:
        msg = f"input: {spec.input!r} cannot be listed: {error}"
        raise InvalidJob(msg, field="input") from error
    if _takes_output(spec, found):
        msg = f"the input holds the output folder {spec.output!r}: choose a folder elsewhere"
        raise InvalidJob(msg, field="output")
    sources: list[Source] = []
    for url in sorted(found.urls):
        source = _source(url, spec, chosen=found.chosen)
        if source:
            sources.append(source)
        else:
            found.left_out.append(LeftOut(name=url, why="its suffix is not known; input_format would name the format"))
    if not sources:
        msg = f"input: there is no file {spec.input!r} that can be read; known are {', '.join(sorted(FORMATS))}"
        raise InvalidJob("; ".join([msg, *filter(None, [describe_left_out(found.left_out)])]), field="input")
    formats = sorted({source.format for source in sources})
    if len(formats) > 1:
        msg = f"input: the files are of different formats ({', '.join(formats)}); give a glob that takes one kind"
        raise InvalidJob(msg, field="input")
    if left_out is not None:
        left_out += sorted(found.left_out, key=lambda one: one.name)
    return sources


def describe_left_out(left_out: Sequence[LeftOut]) -> str:
    """What was left out, in a line for people; "" if nothing was."""
    if not left_out:
        return ""
    first = left_out[0]
    more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return f"left out: {first.name!r} ({first.why}){more}"


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


def stream_encoding(encoding: str) -> str:
    """The encoding of the bytes that `open_text` and staged segments give."""
    return encoding if is_line_wise(encoding) else "utf-8"


def open_text(
    source: Source, encoding: str, poll: Callable[[], None] = lambda: None
) -> tuple[IO[bytes], HashingStream]:
    """The plain bytes of a text file in its `stream_encoding`, and the stream of the file as it is stored.

    Raises:
        InvalidJob: it cannot be opened, or does not look like that encoding; reading raises it as `decompressed` does.
    """
    raw = HashingStream(open_source(source.url), poll)
    with ExitStack() as stack:
        stream = stack.enter_context(decompressed(raw, source.compression, source.url))
        likely = better_encoding(stream.peek(SAMPLE_BYTES)[:SAMPLE_BYTES], encoding)
        if likely:
            msg = f"encoding: {source.url!r} does not look like {encoding}; it looks like {likely}"
            msg = f"{msg}: write encoding={likely}, or --encoding {likely}"
            raise InvalidJob(msg, field="encoding")
        if not is_line_wise(encoding):
            stream = io.BufferedReader(_Transcoder(stream, encoding), CHUNK)
        stack.pop_all()
    return stream, raw


def decompressed(stream: HashingStream, compression: str, name: str) -> io.BufferedReader[Any]:
    """The plain bytes of a file, buffered; `name` is told in errors.

    Reading it raises InvalidJob where the compressed data is damaged or breaks off in the middle.
    """
    buffered = io.BufferedReader(stream, CHUNK)
    return io.BufferedReader(_Decompressor(stream, buffered, compression, name), CHUNK) if compression else buffered


class _Decompressor(io.RawIOBase):
    """Decompressed bytes as a Python stream: gzip by Python, which allows zeros at the end, zstd by pyarrow."""

    def __init__(self, raw: HashingStream, buffered: IO[bytes], compression: str, name: str) -> None:
        self._raw = raw
        self._buffered = buffered
        self._name = name
        self._plain: Any = (
            gzip.GzipFile(fileobj=buffered)
            if compression == "gzip"
            else pa.CompressedInputStream(pa.PythonFile(buffered, mode="r"), compression)
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._plain.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            if self._raw.failure:
                raise self._raw.failure from error
            msg = f"input: the compressed file {self._name!r} is damaged or incomplete: {error}"
            if "too much memory" in str(error):
                msg = (
                    f"input: {self._name!r} needs a zstd window of more than {ZSTD_WINDOW_MIB} MiB: compress it again "
                    f"without --long and --ultra ({error})"
                )
            raise InvalidJob(msg, field="input") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._buffered.close()
        super().close()


class _Transcoder(io.RawIOBase):
    """Text of any encoding as UTF-8. Bytes that are not valid become one that is not valid in UTF-8 either."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(INVALID)
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready and not self._ended:
            data = self._stream.read(CHUNK)
            self._ended = not data
            self._ready = self._decoder.decode(data, self._ended).encode("utf-8", "surrogateescape")
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(INVALID, _mark_invalid)


@dataclass(slots=True)
class _Found:
    """What an input names.

    Attributes:
        chosen: whether each file was chosen by name (and not just found in a folder).
        urls: the files.
        left_out: what else there is.
        links: linked folders that were read: where each really is, by its path in the input.
    """

    chosen: bool
    urls: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)

    def leave_out(self, path: str, why: str) -> None:
        """Leave out a file or folder; its name is made one that can be written down."""
        self.left_out.append(LeftOut(name=printable(path), why=why))


def _find_remote(fs: Any, path: str, roots: tuple[str, ...]) -> _Found:
    if has_magic(path) and not fs.exists(path):
        entries, found = fs.glob(path, detail=True), _Found(chosen=True)
    elif fs.isdir(path):
        entries, found = fs.find(path, detail=True), _Found(chosen=False)
    else:
        entries, found = ({path: {"type": "file"}} if fs.exists(path) else {}), _Found(chosen=True)
    for name in (name for name, info in entries.items() if info["type"] != "directory"):
        if not found.chosen and _hidden(name[len(path) :]):
            found.leave_out(name, HIDDEN)
        else:
            confine(_url(fs, name), roots, "input")
            found.urls.append(_url(fs, name))
    return found


def _find_local(pattern: str, roots: tuple[str, ...]) -> _Found:
    """Find files on a disk: linked folders are read, once each; names are compared however they are normalised."""
    path = stored_path(pattern)
    if Path(path).is_dir():
        return _Walk(path, roots).run()
    if os.path.lexists(path):
        why = _why_unreadable(path)
        if why:
            msg = f"input: {pattern!r} cannot be read: {why}"
            raise InvalidJob(msg, field="input")
        return _Found(chosen=True, urls=[path])
    top = _fixed_part(pattern)
    return (
        _Walk(stored_path(top), roots, pattern.removeprefix(top).lstrip("/")).run()
        if has_magic(pattern)
        else _Found(chosen=True)
    )


class _Walk:
    """Finds all files below a folder or, given a glob pattern for their paths below it, those that match.

    Linked folders come after all others, so that what is linked twice is read under its own name if it has one here.
    """

    def __init__(self, top: str, roots: tuple[str, ...], pattern: str = "") -> None:
        self._top = top.rstrip("/")
        self._roots = roots
        self._matcher = re.compile(glob_translate(composed(pattern))) if pattern else None
        self._depth = pattern.count("/") if pattern and "**" not in pattern else None
        self._folders, self._links = deque([top]), deque[str]()
        self._found = _Found(chosen=bool(pattern))

    def run(self) -> _Found:
        """What was found."""
        seen: set[str] = set()
        while self._folders or self._links:
            folder = self._folders.popleft() if self._folders else self._links.popleft()
            if not is_confined(folder, self._roots):
                self._found.leave_out(folder, OUTSIDE)
                continue
            real = os.path.realpath(folder)
            if real in seen:
                self._found.leave_out(folder, "a link to a folder that is read already")
                continue
            seen.add(real)
            if Path(folder).is_symlink():
                self._found.links[folder] = real
            try:
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        self._look_at(entry)
            except OSError as error:
                self._found.leave_out(folder, f"it cannot be listed: {error.strerror}")
        return self._found

    def _look_at(self, entry: os.DirEntry[str]) -> None:
        name = entry.path[len(self._top) + 1 :]
        hidden = self._matcher is None and _hidden(entry.name)
        if entry.is_dir():
            if hidden:
                self._found.leave_out(entry.path, HIDDEN)
            elif self._depth is None or name.count("/") < self._depth:
                (self._links if entry.is_symlink() else self._folders).append(entry.path)
        elif self._matcher is None or self._matcher.match(composed(name)):
            why = HIDDEN if hidden else _why_unreadable(entry.path)
            if not why and not is_confined(entry.path, self._roots):
                why = OUTSIDE
            if why:
                self._found.leave_out(entry.path, why)
            else:
                self._found.urls.append(entry.path)


def _why_unreadable(path: str) -> str:
    """Why a file on a disk cannot be read; "" if it can."""
    if not is_valid_text(path):
        guess = os.fsencode(path).decode("cp949", "backslashreplace").rsplit("/", 1)[-1]
        return f"its name is not UTF-8; in CP949 it would be {guess!r}: rename it"
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        return f"a link that leads nowhere, or no access: {error.strerror}"
    if not stat.S_ISREG(mode):
        return "it is a FIFO, a socket or a device, not a file"
    return "" if os.access(path, os.R_OK) else "no permission to read it"


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _takes_output(spec: JobSpec, found: _Found) -> bool:
    """Whether the input would name files that the job itself writes: if not now, then when it is resumed."""
    output = _real(spec.output)
    if not found.chosen:
        folders = [_real(spec.input), *found.links.values()]
        rests = [output[len(folder) :] for folder in folders if f"{output}/".startswith(f"{folder}/")]
        return any(not _hidden(rest) for rest in rests)
    outputs = [spec.output]
    for link, folder in found.links.items():
        if f"{output}/".startswith(f"{folder}/"):
            outputs.append(link + output[len(folder) :])
    names = (MANIFEST, ERRORS, *part_names(spec.format, 0, 1))
    pattern = glob_translate(composed(spec.input))
    return any(re.match(pattern, composed(f"{folder}/{name}")) for folder in outputs for name in names)


def _real(url: str) -> str:
    return url if "://" in url else os.path.realpath(stored_path(url))


def _url(fs: Any, path: str) -> str:
    return absolute(fs.unstrip_protocol(path))


def _source(url: str, spec: JobSpec, *, chosen: bool) -> Source | None:
    suffixes = url.rsplit("/", 1)[-1].lower().split(".")[1:]
    compression = COMPRESSIONS.get(suffixes[-1], "") if suffixes else ""
    if compression:
        suffixes.pop()
    known = FORMATS.get(suffixes[-1], "") if suffixes else ""
    kind = known if spec.input_format == "auto" else spec.input_format
    if not chosen and not kind:
        return None
    if not kind:
        msg = f"input: the name of {url!r} does not say its format; name it with input_format"
        raise InvalidJob(msg, field="input_format")
    return Source(url, kind, compression)


def _fixed_part(pattern: str) -> str:
    """The path up to the first part with a wildcard."""
    parts = pattern.split("/")
    fixed = next((index for index, part in enumerate(parts) if has_magic(part)), len(parts))
    return "/".join(parts[:fixed]) or "/"
