"""Writes a file as a whole or not at all; what is no regular file, such as a FIFO or a device, is written into."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def output_file(path: Path, *, permissions: int = 0o666) -> Iterator[IO[bytes]]:
    """A binary file whose content becomes that of `path` when the block ends without an error.

    Links are followed and stay. An existing file keeps its permissions, and its owner where that is allowed; a new one
    gets `permissions`, less the umask. FIFOs, devices and sockets are never replaced: what is written goes into them
    at once.

    Raises:
        OSError: it cannot be written.
    """
    found = _status(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with path.open("wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".munjang-{uuid.uuid4().hex}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if found is not None:
                with suppress(PermissionError):
                    os.fchown(file.fileno(), found.st_uid, found.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    """What is behind the path and its links; None if nothing is."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
