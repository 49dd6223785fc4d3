"""`python -m tests.bench.serving`: load and break real servers, write docs/bench/serving.json, serving.md and plots.

What is measured is written after every section, so a run that is cut off leaves what it has; `--only` measures some
sections and keeps the other figures as they were. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.serving import page
from tests.bench.speed import texts
from tests.bench.speed.context import Context, prepare
from tests.bench.speed.sections import measure

ROOT = Path(__file__).parents[3]
SECTIONS = (
    "swaps",
    "overload",
    "hopeless",
    "hostile",
    "http",
    "mixed",
    "unary",
    "faults",
    "stream",
    "restart",
    "long",
    "rerank",
)
DATA = ROOT.parent / "shared" / "data"


def main() -> None:
    """Read the options, measure, write."""
    options = _options()
    os.environ["GRPC_VERBOSITY"] = "NONE"  # it remarks on every child that is started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and end what was started
    path = options.out / "serving.json"
    figures: dict[str, Any] = json.loads(path.read_text("utf-8")) if options.only and path.exists() else {}
    data = options.data if (options.data / "korsts").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="munjang-bench-") as name:
        folder, registry = prepare(Path(name), None)
        context = Context(
            quick=options.quick,
            peers=False,
            cache=Path(name),
            work=Path(name),
            folder=folder,
            registry=registry,
            texts=texts.sentences(data),
            data=data,
            profile=None,
        )
        for section in options.only.split(",") if options.only else SECTIONS:
            figures[section] = measure("tests.bench.serving", section, context)
            page.write(figures, options.out)
    print(f"written: {path} and {path.with_suffix('.md')}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description="Load and break our servers.")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that it works")
    parser.add_argument("--only", default="", help=f"sections, with commas between: {', '.join(SECTIONS)}")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of korsts/; default: ../shared/data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "bench", help="where to write; default: docs/bench")
    options = parser.parse_args()
    unknown = set(filter(None, options.only.split(","))) - set(SECTIONS)
    if unknown:
        parser.error(f"--only names {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return options


if __name__ == "__main__":
    main()
