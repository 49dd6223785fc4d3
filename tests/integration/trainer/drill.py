"""Killing trainers and publishers at random moments, and looking at what they leave behind."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from munjang.errors import VersionNotFound
from munjang.registry.fetch import fetch
from munjang.registry.store import Registry
from munjang_trainer.training.run import read_record

PUBLISH_UNGATED = "publish-ungated"

if TYPE_CHECKING:
    from pathlib import Path

    from forge import Forge


def kill_trainings(forge: Forge, recipe: Path, runs: Path, kills: int, seed: int = 7) -> int:
    """Kill trainings until `kills` of them died, resume each; every one must end with the very same model.

    Returns how often a training was resumed to its end.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    began = time.monotonic()
    assert forge.run(*_train(recipe, runs / "whole")) == 0
    seconds = time.monotonic() - began
    expected = _state(runs / "whole")
    killed = finished = 0
    run = runs / "killed"
    while killed < kills:
        killed += _kill_after(forge, draw.uniform(0, seconds), *_train(recipe, run))
        if killed == kills or (run / "training.json").is_file():
            assert forge.run(*_train(recipe, run)) == 0
            assert _state(run) == expected
            shutil.rmtree(run)
            finished += 1
        else:
            assert not (run / "model").exists() or _weights(run) == expected[0]
    return finished


def kill_publishers(forge: Forge, run: Path, url: str, kills: int, seed: int = 7) -> list[int]:
    """Kill publishers until `kills` of them died; what a reader sees is whole at every moment.

    Returns the versions that stand in the end.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    began = time.monotonic()
    assert forge.run(PUBLISH_UNGATED, str(run), url + "-measured") == 0
    seconds = time.monotonic() - began
    registry = Registry(url)
    killed = 0
    while killed < kills:
        killed += _kill_after(forge, draw.uniform(0, seconds), PUBLISH_UNGATED, str(run), url)
        _check(registry)
        for version in registry.versions():  # a publisher that won publishes nothing more: let the next one try again
            with suppress(VersionNotFound):
                registry.remove(version, force=True) if _free(registry, version) else None
    assert forge.run(PUBLISH_UNGATED, str(run), url) == 0
    _check(registry)
    return registry.versions()


def _train(recipe: Path, run: Path) -> list[str]:
    return ["train", str(recipe), "--data", str(recipe.parent), "--output", str(run)]


def _kill_after(forge: Forge, seconds: float, *arguments: str) -> int:
    """Start a command and kill it after a while; 1 if it died of that, 0 if it was quicker."""
    pid = forge.start(*arguments)
    timer = threading.Timer(seconds, _kill, [pid])
    timer.start()
    status = forge.wait()
    timer.cancel()
    timer.join()
    assert status in {0, -signal.SIGKILL}
    return int(status != 0)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _state(run: Path) -> tuple[str, list[tuple[str, int]], int]:
    """Weights, steps by stage, and lines of the journal."""
    stages = [(stage.name, stage.steps) for stage in read_record(run).stages]
    return _weights(run), stages, len((run / "journal.jsonl").read_text(encoding="utf-8").splitlines())


def _weights(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def _check(registry: Registry) -> None:
    """What an alias names is whole, and so is every version that a reader can see."""
    for version in registry.versions():
        folder = fetch(registry, version, registry.storage.path("unused"))
        assert (folder / "README.md").is_file()
    for record in registry.aliases().values():
        registry.verify(record.version)


def _free(registry: Registry, version: int) -> bool:
    return all(record.version != version for record in registry.aliases().values())
