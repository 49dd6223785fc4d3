"""`munjang work`: works on bulk jobs until SIGTERM. Settings come from the environment (MUNJANG_…)."""

from __future__ import annotations

import os
import sys

from munjang.errors import ConfigurationError
from munjang.settings import WorkerSettings
from munjang_worker.supervisor import CHILD, run_children

USAGE = "usage: munjang work   (settings: MUNJANG_REDIS_URL and others, see docs/settings.md)\n"
BROKEN = 3
"""The exit status of a child whose model or loop broke; its parent starts another."""


def main(arguments: list[str]) -> int:
    """Run one process here, or several below; the exit status."""
    try:
        settings = WorkerSettings()
        if arguments[:1] == [CHILD]:
            return 0 if _work(settings, int(arguments[1]), parent=int(arguments[2])) else BROKEN
        if arguments:
            help_wanted = arguments in (["--help"], ["-h"])
            (sys.stdout if help_wanted else sys.stderr).write(USAGE)
            return 0 if help_wanted else 2
        if settings.worker_processes > 1:
            return run_children(settings)
        return _exit_status(settings)
    except (ConfigurationError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _work(settings: WorkerSettings, number: int, parent: int = 0) -> bool:
    from munjang_worker.process import run_process  # noqa: PLC0415 - a parent of several needs none of it

    return run_process(settings, number, parent)


def _exit_status(settings: WorkerSettings) -> int:
    """Work here; where something broke, this process becomes a new worker."""
    if not _work(settings, 0):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
