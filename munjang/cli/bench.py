"""`munjang bench`: puts load on a server and reports the results, so users can size their own machines."""

import asyncio
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from munjang.cli import console, load_report, options
from munjang.cli.load_generator import Load, batches, built_in
from munjang.cli.load_report import Run, load_name, summarise, table
from munjang.cli.texts import read_texts
from munjang.client import AsyncClient, RetryPolicy
from munjang.errors import ConfigurationError
from munjang.output_file import output_file
from munjang.vectors import Precision

Results = list[tuple[Run, NDArray[np.float64]]]

LATE_MS = 50.0
"""Calls that begin later than this, by the generator's own fault, are reported."""


@options.calls_server
def bench(
    *,
    concurrency: Annotated[
        str,
        typer.Option(help="Closed loop: callers that each wait for their answer; several values run one by one."),
    ] = "1,4,16",
    rate: Annotated[
        str, typer.Option(help="Open loop instead: calls per second, however long the answers take; also a list.")
    ] = "",
    batch: Annotated[int, typer.Option(help="Texts per call.", min=1)] = 1,
    duration: Annotated[float, typer.Option(help="Seconds of each run that are measured.", min=0.1)] = 10.0,
    warmup: Annotated[float, typer.Option(help="Seconds of warm-up before each run.", min=0)] = 2.0,
    file: options.File = "",
    encoding: options.Encoding = "utf-8",
    long_share: Annotated[
        float, typer.Option(help="Without --file: the share of texts as long as models read, from 0 to 1.")
    ] = 0.0,
    prompt: options.PromptName = "",
    version: options.Version = "",
    precision: Annotated[Precision, typer.Option(help="The number format of the components.")] = Precision.FLOAT32,
    seed: Annotated[int, typer.Option(help="Seed of the order of texts and of the times of an open loop.")] = 0,
    as_json: options.Json = False,
    save: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.", dir_okay=False)] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw latencies into this PNG file.", dir_okay=False)] = None,
    server: options.Server,
) -> None:
    """Measure throughput and latency of a server under load. Nothing is retried: each failure counts.

    A closed loop shows what the server can do; an open loop, what callers who do not wait for each other see.
    There latency counts from the intended start of a call. The generator itself uses one core.

    Without --file it sends short Korean sentences of its own. Long texts cost a server many times more: add your own
    share of them by --long-share, or measure with your own texts.

    Examples:
      munjang bench --concurrency 1,8,64 --batch 8

      munjang bench --rate 50,100,200 --duration 30 --save bench.json --plot bench.png
    """
    for name, seconds in (("duration", duration), ("warmup", warmup)):
        if not math.isfinite(seconds):
            msg = f"--{name} is {seconds}; it must be a number of seconds"
            raise typer.BadParameter(msg)
    plan = Plan(
        loads=_loads(concurrency, rate),
        texts=read_texts(None, file, encoding).items if file else built_in(long_share, seed),
        choice={"prompt_name": prompt, "version": version, "precision": precision},
        batch=batch,
        warmup=warmup,
        seconds=duration,
        seed=seed,
    )
    if plot:
        load_report.check_plotting()
    for path in (plot, save):
        _check_folder(path)
    console.note(plan.described(file))
    client = server.connect_async(RetryPolicy(attempts=1), batch)
    results = asyncio.run(_run_all(client, plan))
    _report(plan, results, save, plot, as_json=as_json)


@dataclass(frozen=True)
class Plan:
    """What is measured: `loads` are pairs of a mode and its load."""

    loads: Sequence[tuple[str, float]]
    texts: Sequence[str]
    choice: dict[str, Any]
    batch: int
    warmup: float
    seconds: float
    seed: int

    def described(self, file: str) -> str:
        """What is sent, in words; `file` is where the texts are from, or empty."""
        lengths = sorted(map(len, self.texts))
        source = f"the {len(lengths):,} lines of {file}" if file else f"{len(lengths):,} built-in Korean texts"
        return f"sends {source}, {lengths[len(lengths) // 2]} characters in the middle, {lengths[-1]:,} at the most"

    async def run(self, client: AsyncClient, mode: str, amount: float) -> tuple[Run, NDArray[np.float64]]:
        """One run, and its latencies in milliseconds."""
        whole = self.warmup + self.seconds
        with console.progress(load_name(mode, amount), whole) as advance:
            load = Load(client, batches(self.texts, self.batch, self.seed), self.choice, whole, advance)
            if mode == "closed":
                await load.closed(int(amount))
            else:
                await load.open(amount, self.seed)
        return summarise(
            load.samples, mode=mode, load=amount, batch=self.batch, warmup=self.warmup, seconds=self.seconds
        )


async def _run_all(client: AsyncClient, plan: Plan) -> Results:
    async with client:
        await client.encode(plan.texts[:1], **plan.choice)  # what is wrong with the options fails here
        return [await plan.run(client, mode, amount) for mode, amount in plan.loads]


def _loads(concurrency: str, rate: str) -> list[tuple[str, float]]:
    if rate:
        return [("open", amount) for amount in _numbers(rate, "rate")]
    return [("closed", amount) for amount in _numbers(concurrency, "concurrency", whole=True)]


def _report(plan: Plan, results: Results, save: Path | None, plot: Path | None, *, as_json: bool) -> None:
    title = f"{plan.batch} text{'s' if plan.batch > 1 else ''} a call, {plan.seconds:g} s each"
    runs = [run for run, _ in results]
    record = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "batch": plan.batch,
        "texts": len(plan.texts),
        "mean_characters": sum(map(len, plan.texts)) / len(plan.texts),
        "options": plan.choice,
        "seed": plan.seed,
        "runs": [run.json() for run in runs],
    }
    if save:
        with output_file(save) as file:
            file.write(json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n")
    if as_json:
        console.print_json(record)
    else:
        screen = console.stdout()
        screen.print(table(runs, title, screen.width))
    late = max((run.lag_ms for run in runs), default=0)
    if late > LATE_MS:
        console.note(f"calls began up to {late:.0f} ms late: this generator, not only the server, was at its limit")
    if plot:
        load_report.plot(runs, [latencies for _, latencies in results], title, plot)


def _numbers(listed: str, option: str, *, whole: bool = False) -> list[float]:
    try:
        numbers = [float(part) for part in listed.split(",")]
    except ValueError:
        numbers = [0.0]
    if all(0 < number < math.inf and (number.is_integer() or not whole) for number in numbers):
        return numbers
    kind = "whole numbers" if whole else "numbers"
    msg = f"--{option} is {listed!r}; it must be {kind} above 0, with commas between"
    raise typer.BadParameter(msg)


def _check_folder(path: Path | None) -> None:
    if path and not path.absolute().parent.is_dir():
        msg = f"{path} cannot be written: there is no folder {path.absolute().parent}"
        raise ConfigurationError(msg)
