"""`python -m tests.bench.speed`: measure, and write docs/bench/speed.json, docs/benchmarks.md and their plots.

What is measured is written after every section, so a run that is cut off leaves what it has; `--only` measures some
sections and keeps the other figures as they were. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.speed import page, profiles, texts
from tests.bench.speed.context import Context, prepare
from tests.bench.speed.sections import measure

ROOT = Path(__file__).parents[3]
SECTIONS = ("encode", "minilm", "quality", "overhead", "wire", "startup", "served", "bulk", "linear", "decoder", "gpu")
DATA = ROOT.parent / "shared" / "data"


def main() -> None:
    """Read the options, measure, write."""
    options = _options()
    os.environ["GRPC_VERBOSITY"] = "NONE"  # it remarks on every child that is started
    path = options.out / "bench" / "speed.json"
    figures: dict[str, Any] = json.loads(path.read_text("utf-8")) if options.only and path.exists() else {}
    chosen = options.only.split(",") if options.only else SECTIONS
    data = options.data if (options.data / "korsts").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="munjang-bench-") as name:
        folder, registry = prepare(Path(name), options.model)
        context = Context(
            quick=options.quick,
            peers=options.peers,
            cache=options.cache.expanduser().resolve(),
            work=Path(name),
            folder=folder,
            registry=registry,
            texts=texts.sentences(data),
            data=data,
            profile=options.profile,
        )
        for section in chosen:
            figures[section] = measure("tests.bench.speed", section, context)
            page.write(figures, options.out)
        if options.profile:
            profiles.write(context, options.profile.resolve())
    print(f"written: {path} and {options.out / 'benchmarks.md'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.speed", description="Measure munjang's speed.")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: to see that it works")
    parser.add_argument("--peers", action="store_true", help="install and measure Infinity, mosec and LitServe too")
    parser.add_argument("--only", default="", help=f"sections, with commas between: {', '.join(SECTIONS)}")
    parser.add_argument("--profile", type=Path, help="write profiles of torch and of our server into this folder")
    parser.add_argument("--model", type=Path, help="a sentence-transformers folder; default: the starter model")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of korsts/; default: ../shared/data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where to write; default: docs")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/munjang-bench"), help="the peers' environments")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    if unknown := only - set(SECTIONS):
        parser.error(f"--only names {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if "minilm" in only and not options.peers:
        parser.error("--only minilm needs --peers, because its model must be installed for it")
    return options


if __name__ == "__main__":
    main()
