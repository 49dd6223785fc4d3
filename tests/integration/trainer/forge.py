"""Trainer commands as children of a process that has imported everything: a kill costs no seconds of imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Self

PROGRAM = Path(__file__).with_name("forged.py")


class Forge:
    """The program `forged.py`, and one child of it at a time."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("a", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._read("ready")

    def start(self, *arguments: str) -> int:
        """Start a command; returns its pid."""
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return self._read("pid")

    def wait(self) -> int:
        """The exit status of the command; negative: the signal that ended it."""
        return self._read("exit")

    def run(self, *arguments: str) -> int:
        """Run a command to its end."""
        self.start(*arguments)
        return self.wait()

    def __enter__(self) -> Self:
        """Use in a `with` statement."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the program."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=60)
        self._log.close()

    def _read(self, expected: str) -> int:
        """The number after the expected word: a pid that were something else could be anybody's."""
        line = self._process.stdout.readline()
        word, _, number = line.strip().partition(" ")
        assert word == expected, f"{line!r} came instead of {expected}; see the log"
        return int(number)
