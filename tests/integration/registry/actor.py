"""A process that acts on a registry: `actor.py MODE ROOT MODEL CACHE`.

`publishing`, `promoting` and `fetching` do it over and over and print a line for each time. `mortal` reads lines such
as `publish 12` and does each in a forked child, which dies of SIGKILL at its 12th step; it prints `killed`, or the
child's answer if it came to its end. A step is a system call that touches the disk; a write is cut off half-way.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock  # noqa: F401 - loaded before the forks, not in each of them
import fsspec.core  # noqa: F401 - the same

from munjang.registry import Description, Registry, fetch
from munjang.registry.object_storage import ObjectStorage

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = ("open", "fsync", "link", "mkdir", "unlink", "rmdir", "rename", "replace", "scandir", "close")


class Actor:
    """What can be done to the registry."""

    def __init__(self, root: str, model: str, cache: str) -> None:
        self.registry = Registry(root)
        self.remote = Registry(root)
        self.remote.storage = ObjectStorage(f"file://{root}")  # the same files, as if they were far away
        self.model, self.cache = Path(model), Path(cache)

    def publish(self) -> object:
        """Publish the next version."""
        return self.registry.publish(self.model, Description(dimensions=4, max_tokens=16)).version

    def promote(self) -> object:
        """Promote the version that is not promoted."""
        version = 2 if self.registry.aliases().get("stable", 0) and self.registry.resolve("stable") == 1 else 1
        return self.registry.promote("stable", version).version

    def rollback(self) -> object:
        """Roll back."""
        return self.registry.rollback("stable").version

    def remove(self) -> object:
        """Remove the newest version."""
        newest = self.registry.versions()[-1]
        self.registry.remove(newest)
        return newest

    def fetch(self) -> object:
        """Fetch the first version as from a remote registry."""
        return fetch(self.remote, 1, self.cache)


def say(answer: object) -> None:
    """Tell the test, at once."""
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


def die_at(step: int) -> None:
    """Kill this process at its `step`-th step."""
    left = step

    def counted(call: Callable[..., Any], last: Callable[..., object]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                last(*args)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counting

    write = os.write
    os.write = counted(write, lambda file, data: write(file, data[: len(data) // 2]))
    for name in STEPS:
        setattr(os, name, counted(getattr(os, name), lambda *_: None))


def mortal(actor: Actor) -> None:
    """Do what the lines of the input say, each in a child that dies."""
    for line in sys.stdin:
        action, step = line.split()
        child = os.fork()
        if not child:
            answer = 1
            try:
                die_at(int(step))
                say(getattr(actor, action)())
                answer = 0
            finally:
                os._exit(answer)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            say("killed")
        elif os.WEXITSTATUS(status):
            say("failed")


def repeatedly(action: Callable[[], object]) -> None:
    """Do it until killed, and say so each time."""
    while True:
        say(action())


if __name__ == "__main__":
    mode, *places = sys.argv[1:]
    actor = Actor(*places)
    if mode == "mortal":
        mortal(actor)
    repeatedly({"publishing": actor.publish, "promoting": actor.promote, "fetching": actor.fetch}[mode])
