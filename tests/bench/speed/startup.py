"""Section `startup`: from the start of the server's process to its first answer, and its memory at rest."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.bench.speed import servers
from tests.bench.speed.stats import summary, timed

if TYPE_CHECKING:
    from tests.bench.speed.context import Context

REST_SECONDS = 5.0
IMPORTS = ("munjang.client", "munjang.cli.main", "munjang_server.main", "munjang_worker.process")


def measure(context: Context) -> dict[str, Any]:
    """Seconds to the first answer, with and without the export of an earlier start, and resident bytes at rest."""
    home = context.work / "startup"
    first, later, memory = [], [], []
    for _ in range(context.rounds):
        shutil.rmtree(home, ignore_errors=True)
        for times in (first, later):
            begun = time.perf_counter()
            with servers.running(servers.ours(context.registry, home), context.work) as server:
                times.append(time.perf_counter() - begun)
                if times is later:
                    time.sleep(1.0 if context.quick else REST_SECONDS)
                    memory.append(float(server.memory()))
    weights = sum(path.stat().st_size for path in context.folder.rglob("*.safetensors"))
    return {
        "first_start_seconds": summary(first),
        "ready_start_seconds": summary(later),
        "memory_bytes": summary(memory),
        "weights_bytes": weights,
        "memory_limit_bytes": 1.5 * weights + 300e6,
        "import_seconds": {name: summary([_import(name) for _ in range(context.rounds)]) for name in IMPORTS},
    }


def _import(name: str) -> float:
    """Seconds of a process that imports a module, less those of one that imports nothing."""
    bare = timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    return timed(lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)) - bare
