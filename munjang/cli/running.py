"""Which `munjang up` runs on this machine: its note in a home, for the commands of other terminals. Starts nothing."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTE = "running.json"


@dataclass(frozen=True)
class Running:
    """A `munjang up` and where to find it.

    Attributes:
        pid: its process id.
        home: its folder.
        target: HOST:PORT of its server, for a client on this machine.
        registry: the URL of its registry.
    """

    pid: int
    home: str
    target: str
    registry: str

    @contextmanager
    def noted(self, homes: list[Path]) -> Iterator[None]:
        """Leave a note in each home that holds none of another `up`; they are gone at the end."""
        noted = []
        made = []
        for home in homes:
            if read(home) is None:
                with suppress(OSError):  # the default home may be a place that this user cannot write
                    if not home.exists():
                        home.mkdir(parents=True)
                        made.append(home)
                    (home / NOTE).write_text(json.dumps(asdict(self)), encoding="utf-8")
                    noted.append(home / NOTE)
        try:
            yield
        finally:
            with suppress(OSError):
                for note in noted:
                    note.unlink(missing_ok=True)
                for home in made:
                    home.rmdir()

    def export(self) -> str:
        """The shell command that makes other programs, and other users, use this one too."""
        named = {"MUNJANG_HOME": self.home, "MUNJANG_TARGET": self.target, "MUNJANG_REGISTRY": self.registry}
        return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in named.items())


def read(home: Path) -> Running | None:
    """The `up` that a home tells of, if it still runs."""
    try:
        note = Running(**json.loads((home / NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return note if _lives(note.pid) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except OSError:
        return False
    return True
