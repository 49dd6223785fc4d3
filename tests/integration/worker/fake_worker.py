"""`munjang work` as it is, but with a fake model that tests hold, slow down and break from outside.

FAKE_FOLDER holds `trace` (a line for every forward, load and wait at a gate: what, process id, version) and, if the
test put it there, `gate` (every forward waits while it is there; if it names a folder, only once a part is in that),
`plan-gate` and `finish-gate` (a plan, and the manifest's writing, wait while they are there), `broken` (every forward
fails until that is gone) and `deaf` (whatever is raised at the gate is caught).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bucket

import munjang_worker.connection
import munjang_worker.jobs
import munjang_worker.plan_job
import munjang_worker.process
import munjang_worker.rq_queue
import munjang_worker.supervisor
from munjang.testing import FakeEncoder
from munjang_worker.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from munjang.encoder.contract import Tokens

DEADLY = "죽"


def folder() -> Path:
    return Path(os.environ["FAKE_FOLDER"])


def trace(what: str, version: int) -> None:
    with (folder() / "trace").open("a") as file:
        file.write(f"{what} {os.getpid()} {version}\n")


def shut() -> bool:
    """Whether the gate is there and holds."""
    try:
        output = (folder() / "gate").read_text()
    except FileNotFoundError:
        return False
    return not output or any(Path(output).glob("part-*"))


class HeldEncoder(FakeEncoder):
    """Waits at the gate; dies of texts that begin with DEADLY."""

    def forward(self, batch: Sequence[Tokens]) -> np.ndarray:
        trace("forward", self.seed)
        if shut():
            trace("held", self.seed)
            self.hold()
        if any(len(tokens) > 2 and chr(tokens.ids[1]) == DEADLY for tokens in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        self.failing = (folder() / "broken").exists()
        return super().forward(batch)

    def hold(self) -> None:
        """Wait for the gate; where `deaf` is there, whatever is raised meanwhile is caught, as some libraries do."""
        try:
            while shut():
                time.sleep(0.01)
        except Exception:
            if not (folder() / "deaf").exists():
                raise
            trace("deaf", self.seed)
            self.hold()


def load(version: int) -> FakeEncoder:
    trace("load", version)
    return HeldEncoder(seed=version)


def held(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that waits at its gate before it begins."""

    def wait(*args: Any, **kwargs: Any) -> Any:
        trace(what, 0)
        while (folder() / f"{what}-gate").exists():
            time.sleep(0.01)
        return function(*args, **kwargs)

    return wait


def run(arguments: list[str]) -> int:
    """Be a worker; its exit status."""
    bucket.register()
    munjang_worker.supervisor.PAUSE_SECONDS = 0.5
    munjang_worker.connection.LAST_TRIES = 1.0
    munjang_worker.rq_queue.RETRY_PAUSES = (1,)
    munjang_worker.plan_job.make_plan = held("plan", munjang_worker.plan_job.make_plan)
    munjang_worker.jobs.write_manifest = held("finish", munjang_worker.jobs.write_manifest)
    munjang_worker.process._loader = lambda _registry, _settings: load
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
