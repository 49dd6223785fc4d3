"""A registry behind fsspec: object stores and memory. An object appears completely or not at all; nothing is renamed.

An exclusive create is the store's own (`mode="create"`: conditional writes on S3, Google and Azure). A backend that
only emulates it can lose a race between two machines that publish at the same instant.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigurationError, RegistryUnavailable
from munjang.registry.storage import LOCK_SECONDS, FileInfo, guarded, without_password

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

BLOCK = 16 << 20
"""Bytes that are fetched at a time: each is one request that the backend repeats by itself if it fails."""

_creating = threading.Lock()
"""Makes an emulated exclusive create exact within this process."""


class ObjectStorage:
    """Objects below a URL's path. Listings are never taken from fsspec's cache."""

    local = False

    def __init__(self, url: str) -> None:
        self.url = without_password(url)
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - not needed for folders

            self._fs, root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            msg = f"the registry {self.url} cannot be opened: {error}"
            raise ConfigurationError(msg, field="registry") from error
        self._root = str(root).rstrip("/")
        self._bucket = self._root.strip("/").partition("/")[0]

    def exists(self) -> bool:
        with guarded(self.url, "looking for the registry"):
            return bool(self._fs.exists(self._bucket))

    def children(self, folder: str) -> list[str]:
        return sorted({path.partition("/")[0] for path in self.files(folder)})

    def files(self, folder: str) -> dict[str, FileInfo]:
        base = self._path(folder)
        with guarded(self.url, f"listing {folder}"):
            try:
                found: Mapping[str, Mapping[str, Any]] = self._fs.find(base, detail=True)
            except FileNotFoundError:
                self._refuse_missing_bucket()
                return {}
        prefix = base.strip("/") + "/"
        names = {name.strip("/"): info for name, info in found.items() if not name.endswith("/")}
        return {name.removeprefix(prefix): _info(info) for name, info in names.items() if name.startswith(prefix)}

    def marks(self, folder: str, name: str) -> dict[str, FileInfo]:
        split = ((path.partition("/"), info) for path, info in self.files(folder).items())
        return {child: info for (child, _, rest), info in split if rest == name}

    def read(self, path: str) -> bytes:
        with guarded(self.url, f"reading {path}", FileNotFoundError):
            return bytes(self._fs.cat_file(self._path(path)))

    def chunks(self, path: str) -> Iterator[bytes]:
        with guarded(self.url, f"reading {path}", FileNotFoundError):
            size = int(self._fs.info(self._path(path))["size"])
        for start in range(0, size, BLOCK):
            with guarded(self.url, f"reading {path}", FileNotFoundError):
                block = bytes(self._fs.cat_file(self._path(path), start=start, end=min(start + BLOCK, size)))
            yield block

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file whole, only if there is none; whether it now holds `data`.

        A repeated request whose first answer was lost finds its own file there: that counts as created.
        """
        with guarded(self.url, f"creating {path}"):
            try:
                with _creating:
                    self._fs.pipe_file(self._path(path), data, mode="create")
            except FileExistsError:
                return self.read(path) == data
        return True

    def replace(self, path: str, data: bytes) -> None:
        with guarded(self.url, f"writing {path}"):
            self._fs.pipe_file(self._path(path), data)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        with guarded(self.url, f"writing {path}"), self._fs.open(self._path(path), "wb") as file:
            for chunk in chunks:
                file.write(chunk)

    def remove(self, path: str) -> None:
        with guarded(self.url, f"removing {path}"):
            try:
                for name in self._fs.find(self._path(path)):
                    self._fs.rm_file(name)
            except FileNotFoundError:
                return

    def lock(self, path: str, timeout: float = LOCK_SECONDS) -> AbstractContextManager[object]:
        """Nothing: an object store has no locks. Of two changes at the same instant the last one wins, completely."""
        del path, timeout
        return nullcontext()

    def _refuse_missing_bucket(self) -> None:
        """Tell a registry with nothing in it from an address that leads nowhere."""
        if not self._fs.exists(self._bucket):
            msg = f"the registry {self.url} cannot be read: there is no {self._bucket!r}"
            raise RegistryUnavailable(msg)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"


def _info(info: Mapping[str, Any]) -> FileInfo:
    written = next(
        (info[key] for key in ("LastModified", "last_modified", "mtime", "updated", "created") if key in info), 0
    )
    tag = next((info[key] for key in ("ETag", "etag", "generation", "md5Hash") if key in info), "")
    return FileInfo(int(info["size"] or 0), _epoch(written), f"{tag}-{written}-{info['size']}")


def _epoch(written: object) -> float:
    """Seconds since the epoch from what backends report: a number, a datetime or an ISO text."""
    from datetime import datetime  # noqa: PLC0415 - see above

    if isinstance(written, int | float):
        return float(written)
    if isinstance(written, str):
        written = datetime.fromisoformat(written)
    return written.timestamp() if isinstance(written, datetime) else 0.0
