"""Storage at paths and fsspec URLs: the places that jobs may use, and an output folder whose files appear completely.

A file is written under a temporary name and renamed. On a disk it is synced first, so a renamed file survives a power
cut. Does not know what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

import fsspec

from munjang.bulk.job import absolute
from munjang.errors import InvalidJob, JobConflict

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20
TEMPORARY = ".munjang/tmp"
"""Where files are written before they get their names; all of it may be removed while no worker works on the job."""


_NO_FOLDER = {errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS}
"""Why a place will not be a folder that we can write to, however long one waits, besides Python's own classes."""


class Folder:
    """A folder for one job's files. Names are relative, with forward slashes; one that leads out is a JobConflict.

    Attributes:
        url: as the job names it.
        local: whether it is on a disk of this machine.
    """

    def __init__(self, url: str, field: str = "output") -> None:
        """Name the folder; nothing is read or written yet.

        Raises:
            InvalidJob: no such kind of storage; `field` names the job's option.
        """
        self.url = url
        self._fs, root = open_fs(url, field)
        self._root = str(root).rstrip("/")
        self.local = is_local(self._fs)
        try:
            self._real = os.path.realpath(self._root) if self.local else ""
        except ValueError as error:
            raise self._refusal(error) from error
        self._has_folders = self._root.startswith("/")  # an object store has a bucket first, which is not ours to make

    def prepare(self) -> None:
        """Make the folder, and see that a file can be written into it.

        Raises:
            InvalidJob: it cannot be, now or later: it is a file, say, or read-only, or its bucket does not exist.
            OSError: the storage is away or full.
        """
        try:
            if self._fs.isfile(self._root):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))  # noqa: TRY301 - told as any other
            probe = f"{TEMPORARY}/{secrets.token_hex(8)}"
            self.write(probe, b"")
            self.remove(probe)
        except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError, ValueError) as error:
            raise self._refusal(error) from error
        except OSError as error:
            if error.errno in _NO_FOLDER:
                raise self._refusal(error) from error
            raise

    def _refusal(self, error: Exception) -> InvalidJob:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return InvalidJob(f"output: {self.url!r} cannot be written to as a folder: {why}", field="output")

    def path(self, name: str) -> str:
        """A file's path or URL, as other programs understand it."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes | None:
        """A whole small file; None where there is none."""
        try:
            with self.open(name) as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading. Raises FileNotFoundError where there is none."""
        file: IO[bytes] = self._fs.open(self._at(name), "rb")
        return file

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where there is none."""
        try:
            return int(self._fs.info(self._at(name))["size"])
        except FileNotFoundError:
            return None

    def sha256(self, name: str) -> str:
        """The sha256 of a file, in hexadecimal."""
        with self._fs.open(self._at(name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def names(self, folder: str = "") -> list[str]:
        """The names of the files directly in a folder, sorted; none where there is no such folder."""
        try:
            entries = self._fs.ls(self._at(folder) if folder else self._root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, over an old one if there is one."""
        with self.create(name) as path:
            path.write_bytes(data)

    @contextmanager
    def create(self, name: str) -> Iterator[Path]:
        """Give a local path to write to; at a clean end that file gets its name, otherwise it is removed."""
        if self.local:
            folder = Path(self._at(TEMPORARY))
            folder.mkdir(parents=True, exist_ok=True)
            target = Path(self._at(name))
            target.parent.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(tempfile.gettempdir())
        path = folder / f"munjang-{secrets.token_hex(8)}-{name.rsplit('/', 1)[-1]}"
        try:
            yield path
            if self.local:
                _sync(path)
                path.replace(target)
                _sync(target.parent)
            else:
                self._upload(path, name)
        finally:
            path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens where there is none."""
        try:
            self._fs.rm(self._at(name), recursive=True)
        except FileNotFoundError:
            return

    def _upload(self, path: Path, name: str) -> None:
        temporary = self._at(f"{TEMPORARY}/{path.name}")
        if self._has_folders:
            self._fs.makedirs(temporary.rsplit("/", 1)[0], exist_ok=True)
            self._fs.makedirs(self._at(name).rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(path), temporary)
        self._fs.mv(temporary, self._at(name))

    def _at(self, name: str) -> str:
        """Where a file is. Names and links may be another's, who may write here and no further: none leads out."""
        path = f"{self._root}/{name}"
        if ".." in name.split("/") or (self.local and not _is_within(os.path.realpath(path), self._real)):
            msg = f"{name!r} leads out of the output folder {self.url!r}"
            raise JobConflict(msg, field="output")
        return path


def open_fs(url: str, field: str) -> tuple[Any, str]:
    """The file system of a path or URL, and the path within it. Listings are never cached: others write there too.

    Raises:
        InvalidJob: the protocol is unknown, or its package is not installed.
    """
    try:
        fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        msg = f"{field}: {url!r} cannot be opened: {error}"
        raise InvalidJob(msg, field=field) from error
    return fs, path


def is_local(fs: Any) -> bool:
    """Whether a file system is this machine's own."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def sha256_of(path: Path) -> str:
    """The sha256 of a local file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_roots(setting: str) -> tuple[str, ...]:
    """The roots of a setting: paths or URLs with commas between."""
    return tuple(absolute(root) for part in setting.split(",") if (root := part.strip()))


def confine(url: str, roots: tuple[str, ...], field: str) -> None:
    """Refuse a path or URL that is not below one of the roots; no roots allow everything. Links are followed first.

    Raises:
        InvalidJob: it is not; `field` names the job's option.
    """
    if not is_confined(url, roots):
        msg = f"{field}: {url!r} is outside of the places that this worker may use"
        raise InvalidJob(msg, field=field)


def is_confined(url: str, roots: tuple[str, ...]) -> bool:
    """Whether a path or URL is below one of the roots, or there are none. Links are followed first."""
    return not roots or any(_is_below(url, root) for root in roots)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _is_below(url: str, root: str) -> bool:
    if "::" in url or ("://" in url) != ("://" in root):
        return False
    if "://" in url:
        return all(_is_within(_plain(form), _plain(root)) for form in (url, unquote(url)))
    return _is_within(os.path.realpath(url), os.path.realpath(root))


def _plain(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{posixpath.normpath(rest)}"


def _is_within(path: str, root: str) -> bool:
    """Whether a path without links is a root, or below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")
