"""Reads a JSON list of trainer arguments a line, runs it in a forked child, prints its pid, then its exit status."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import torch

import munjang_trainer.training.run  # noqa: F401 - imported before any child is made
from munjang.settings import TrainerSettings
from munjang_trainer import publishing
from munjang_trainer.cli import app
from munjang_trainer.gate import GateResult

PUBLISH_UNGATED = "publish-ungated"
"""A command of this program only: publish a run as if the gate had let it pass."""


def main() -> None:
    """Obey until the input ends."""
    torch.set_num_threads(1)
    _say("ready", os.getpid())
    for line in sys.stdin:
        arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            os._exit(_obey(arguments))
        _say("pid", child)
        _, status = os.waitpid(child, 0)
        _say("exit", os.waitstatus_to_exitcode(status))


def _obey(arguments: list[str]) -> int:
    try:
        if arguments[0] == PUBLISH_UNGATED:
            _publish_ungated(Path(arguments[1]), arguments[2])
        else:
            return int(app(arguments, standalone_mode=False) or 0)
    except BaseException:  # noqa: BLE001 - whatever it is, it goes to the log and the status
        traceback.print_exc()
        return 1
    return 0


def _publish_ungated(run: Path, registry: str) -> None:
    passed = GateResult(reasons=[], compared_with=0, results=None, comparison=None)
    publishing.check_run = lambda *_: passed
    publishing.publish_run(run, TrainerSettings(registry=registry), promote=True)


def _say(word: str, number: int) -> None:
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
