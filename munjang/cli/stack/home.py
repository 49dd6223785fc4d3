"""The folder of one installation: where its parts keep what is theirs, and that only one `up` runs in it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Home:
    """One folder."""

    folder: Path

    @property
    def logs(self) -> Path:
        """The folder of logs."""
        return self.folder / "logs"

    @property
    def redis(self) -> Path:
        """The folder of Valkey's data."""
        return self.folder / "redis"

    def log(self, name: str) -> Path:
        """A fresh log; the last run's is kept as NAME.log.1."""
        path = self.logs / f"{name}.log"
        if path.exists():
            path.replace(path.with_name(f"{name}.log.1"))
        path.touch()
        return path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folders and hold the lock.

        Raises:
            ConfigurationError: another `up` runs in this folder, or it cannot be written.
        """
        try:
            for folder in (self.folder, self.logs, self.redis):
                folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "up.lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            msg = (
                f"another `munjang up` runs in {self.folder}{self._other()}; end it, or choose another folder by --home"
            )
            raise ConfigurationError(msg, field="home") from error
        except OSError as error:
            msg = f"the folder {self.folder} cannot be used: {error.strerror or error}"
            raise ConfigurationError(msg, field="home") from error
        try:
            yield
        finally:
            self._note.unlink(missing_ok=True)
            lock.release()

    def note(self, address: str) -> None:
        """Say who runs here, and where, for the one who tries it next."""
        self._note.write_text(json.dumps({"pid": os.getpid(), "address": address}))

    @property
    def _note(self) -> Path:
        return self.folder / "up.json"

    def _other(self) -> str:
        try:
            other = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return ""
        return f" (process {other['pid']}, at {other['address']})"
