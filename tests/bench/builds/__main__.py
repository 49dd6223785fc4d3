"""`python -m tests.bench.builds`: servers of several builds under the same loads, alternating in one run.

`--against FOLDER` sets this build beside the one in another checkout (a git worktree of another commit) and writes
docs/bench/builds.json and builds.md; without it, this build is set beside itself without single mechanisms (`without`)
and ablation.json and ablation.md are written. All servers run at the same time and are loaded in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.builds import loads
from tests.bench.builds.without import MECHANISMS
from tests.bench.serving.serving import run, serving
from tests.bench.speed import machine, servers, texts
from tests.bench.speed.context import Context, prepare
from tests.bench.speed.stats import interleave, ratio, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.serving.serving import Serving
    from tests.bench.speed.servers import Server

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
THIS = "this build"
TITLE = "# Builds beside each other"
ABOUT = """Written by `make bench-ablation`: servers of several builds with the starter model on one machine, all
running at the same time and loaded in turn. Figures are medians of the rounds; in brackets, the median of the ratios to
this build within a round."""
SECONDS = 400.0
"""So long one load is alternated at most."""


@dataclass(frozen=True)
class Build:
    """How one build's server is started."""

    name: str
    program: Sequence[str]
    path: Sequence[Path] = (ROOT, ROOT / "server")


def other(folder: Path) -> Build:
    """The build in another checkout, whatever its packages are called."""
    named = (folder / "server" / "munjang_server").is_dir()
    path = (folder, folder / "server") if named else (folder,)
    return Build(folder.name, ("-P", "-m", "munjang_server" if named else "server"), path)


def main() -> None:
    """Read the options, measure, write."""
    options = _options()
    os.environ["GRPC_VERBOSITY"] = "NONE"
    this = Build(THIS, ("-P", "-m", "munjang_server"))
    if options.against:
        builds, name = [this, other(options.against.resolve())], "builds"
    else:
        names = options.only.split(",") if options.only else list(MECHANISMS)
        builds = [this, *(Build(f"without {each}", ("-P", "-m", "tests.bench.builds.without", each)) for each in names)]
        name = "ablation"
    found = measure(builds, options)
    (options.out / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False), "utf-8")
    (options.out / f"{name}.md").write_text(page(found), "utf-8")
    print(page(found))


def measure(builds: Sequence[Build], options: argparse.Namespace) -> dict[str, Any]:
    """Every load on every build in turn."""
    data = options.data if (options.data / "korsts").is_dir() else None
    found: dict[str, Any] = {"machine": machine.describe(), "builds": [build.name for build in builds], "loads": {}}
    with tempfile.TemporaryDirectory(prefix="munjang-bench-") as name, ExitStack() as stack:
        work = Path(name)
        folder, registry = prepare(work, None)
        context = Context(
            quick=options.quick, peers=False, cache=work, work=work, folder=folder, registry=registry,
            texts=texts.sentences(data), data=data, profile=None,
        )  # fmt: skip
        loads.publish_second(context)
        running = {}
        for build in builds:
            running[build.name] = stack.enter_context(_server(build, context))
            loads.loads(context)["sentences/s, 8 callers"][1](running[build.name])  # it learns its speed
        found["megabytes at rest"] = {build: loads.memory(server) for build, server in running.items()}
        for load, (better, figure) in loads.loads(context).items():
            if not any(part in load for part in options.loads.split(",")):
                continue
            turns = {build: _turn(figure, server) for build, server in running.items()}
            rounds = interleave(turns, 1 if options.quick else options.rounds, SECONDS)
            found["loads"][load] = {"better": better} | {
                build: summary(values) | {"of_this": ratio(values, rounds[THIS])} for build, values in rounds.items()
            }
            print(
                load,
                {build: round(each["median"], 3) for build, each in found["loads"][load].items() if build != "better"},
                flush=True,
            )
        if options.against and not options.loads:
            found["overhead"] = _overhead(builds, context, 1 if options.quick else options.rounds)
            count = 4 if options.quick else 50
            found["swaps"] = {build: loads.swaps(server, context, count) for build, server in running.items()}
    return found


def _overhead(builds: Sequence[Build], context: Context, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time a call at 64 callers, of a model that answers at once, less gRPC's alone."""
    orders = context.work / "orders"
    orders.write_text("instant", "utf-8")
    with ExitStack() as stack:
        alone = stack.enter_context(servers.running(servers.null(384), context.work))
        turns = {"gRPC alone": partial(_processor_time, alone, context)}
        for build in builds:
            hurt = Build(build.name, ("-P", "-m", "tests.bench.serving.hurt", str(orders)), build.path)
            server = stack.enter_context(_server(hurt, context)).server
            turns[build.name] = partial(_processor_time, server, context)
        times = interleave(turns, rounds + 1, SECONDS)
    over = {
        build: [time - base for time, base in zip(found, times["gRPC alone"], strict=True)]
        for build, found in times.items()
    }
    return {"ms a call": {build: summary(found) for build, found in times.items()}} | {
        "of_this": {build.name: ratio(over[build.name], over[THIS]) for build in builds}
    }


def _processor_time(server: Server, context: Context) -> float:
    return run(loads.processor_time(server, context.texts[:500], 4.0))


def _turn(figure: Callable[[Serving], float], server: Serving) -> Callable[[], float]:
    return lambda: figure(server)


def _server(build: Build, context: Context) -> Any:
    path = os.pathsep.join(map(str, [*build.path, ROOT]))
    home = context.work / f"home-{build.name.replace(' ', '-')}"
    return serving(
        context, program=build.program, name=build.name, environment={"PYTHONPATH": path}, home=home, watch_seconds=0.2
    )


def page(found: dict[str, Any]) -> str:
    """The figures as a table: medians, and in brackets the median of the ratios to this build."""
    builds = found["builds"]
    lines = [TITLE, "", ABOUT, ""]
    lines += ["| | " + " | ".join(builds) + " |", "|---|" + "---|" * len(builds)]
    for load, each in found["loads"].items():
        cells = [
            f"{each[build]['median']:,.4g}" + ("" if build == THIS else f" ({each[build]['of_this']:.2f} ×)")
            for build in builds
        ]
        lines.append(f"| {load} ({each['better']}) | " + " | ".join(cells) + " |")
    lines.append(
        "| megabytes at rest | " + " | ".join(f"{found['megabytes at rest'][build]:,.0f}" for build in builds) + " |"
    )
    if "overhead" in found:
        each = found["overhead"]
        cells = [
            f"{each['ms a call'][build]['median']:.3f}"
            + ("" if build == THIS else f" ({each['of_this'][build]:.2f} × over gRPC)")
            for build in builds
        ]
        alone = each["ms a call"]["gRPC alone"]["median"]
        lines.append(
            f"| ms of processor time a call, a model that answers at once (gRPC alone {alone:.3f}) | "
            + " | ".join(cells)
            + " |"
        )
    for key in ("calls", "failed", "p99_over_steady") if "swaps" in found else ():
        cells = [
            f"{found['swaps'][build][key]}" if key != "p99_over_steady" else f"{found['swaps'][build][key]:.2f}"
            for build in builds
        ]
        lines.append(f"| swaps under load: {key.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Machine: {found['machine']}", ""])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.builds", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, to be set beside this one")
    parser.add_argument("--only", default="", help=f"mechanisms, with commas between: {', '.join(MECHANISMS)}")
    parser.add_argument("--loads", default="", help="parts of the names of loads, with commas between; default: all")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that it works")
    parser.add_argument("--rounds", type=int, default=3, help="how often each load is alternated; default: 3")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of korsts/; default: ../shared/data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "bench", help="where to write; default: docs/bench")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
