"""How `munjang jobs` prints jobs: a table of many, a page of one, a bar that follows one."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from munjang.bulk import ERRORS
from munjang.bulk.job import Job, JobState
from munjang.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COLORS = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}


WIDE = 120
"""Columns of a terminal from which on a table of jobs shows all."""


def table(jobs: Sequence[Job], width: int) -> Table:
    """Jobs as a table, one a row; where fewer than WIDE columns are to be had, without what `status` shows as well."""
    wide = width >= WIDE
    found = Table(box=None)
    for name in ("job", "state", "rows", "failed", "made"):
        found.add_column(name, no_wrap=True)
    for name in ("shards", "version") if wide else ():
        found.add_column(name, no_wrap=True)
    for name in ("input", "output") if wide else ():
        found.add_column(name, overflow="fold")
    for job in jobs:
        progress = job.progress
        row = [job.id, _state(job), _of(progress.rows_done, progress.rows_total), f"{progress.rows_failed:,}"]
        row.append(_ago(job.created_at))
        if wide:
            row += [_of(progress.shards_done, progress.shards_total), str(job.version or "")]
            row += [escape(job.spec.input), escape(job.spec.output)]
        found.add_row(*row)
    return found


def print_job_id(job: Job, *, as_json: bool) -> None:
    """Print a job that was submitted."""
    if as_json:
        console.print_json(job.as_dict())
    else:
        console.stdout().print(job.id, markup=False)
        console.note(f"munjang jobs watch {job.id}")


def print_job(job: Job, *, as_json: bool) -> None:
    """Print one job."""
    if as_json:
        console.print_json(job.as_dict())
        return
    page = Table(show_header=False, box=None)
    for name, value in _facts(job):
        page.add_row(f"[dim]{name}[/]", value)
    console.stdout().print(page)


@contextmanager
def follow(*, as_json: bool) -> Iterator[Callable[[Job], None]]:
    """Give a function to be told of a job's changes: a bar on a terminal, else lines on standard error.

    With `as_json` a line of JSON on standard output for every change.
    """
    if as_json:
        yield lambda job: console.print_json(job.as_dict())
        return
    screen = console.stderr()
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), console=screen)
    task = bar.add_task("queued", total=None, text="")
    last: list[str] = []

    def show(job: Job) -> None:
        text = _line(job)
        bar.update(task, description=str(job.state), total=job.progress.rows_total or None, text=text)
        bar.update(task, completed=job.progress.rows_done)
        if not screen.is_terminal and last[-1:] != [text]:
            last.append(text)
            console.note(f"{job.state} {text}")

    if not screen.is_terminal:
        yield show
        return
    with bar:
        yield show


def _line(job: Job) -> str:
    progress = job.progress
    if job.state is JobState.QUEUED:
        return "waiting for a worker"
    if not progress.shards_total:
        return "looking at the input" if job.state is JobState.RUNNING else "nothing was begun"
    parts = [f"{_of(progress.rows_done, progress.rows_total)} rows"]
    shards = f"{_of(progress.shards_done, progress.shards_total)} shards"
    parts.append(shards + (f", {progress.shards_running} running" if progress.shards_running else ""))
    if progress.rows_failed:
        parts.append(f"{progress.rows_failed:,} failed")
    if progress.rows_per_second:
        parts.append(f"{progress.rows_per_second:,.0f} rows/s")
    if progress.seconds_left:
        parts.append(f"{_span(progress.seconds_left)} left")
    return " · ".join(parts)


def _facts(job: Job) -> list[tuple[str, str]]:
    facts = [("job", job.id), ("state", _state(job))]
    if job.message:
        facts.append(("", escape(job.message)))
    facts += [
        ("progress", _line(job)),
        ("tokens", f"{job.progress.tokens_done:,}"),
        ("version", str(job.version or f"{job.spec.version} (not resolved yet)")),
        ("input", escape(job.spec.input)),
        ("output", escape(job.spec.output)),
        ("made", _ago(job.created_at)),
    ]
    if job.started_at:
        ended = job.ended_at or datetime.now(UTC)
        facts.append(("took" if job.ended_at else "for", _span((ended - job.started_at).total_seconds())))
    if job.state is JobState.SUCCEEDED and job.progress.rows_failed:
        facts.append(("errors", escape(f"{job.spec.output}/{ERRORS}")))
    return facts


def _state(job: Job) -> str:
    return f"[{COLORS[job.state]}]{job.state}[/]"


def _of(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}"


def _ago(moment: datetime) -> str:
    return f"{_span((datetime.now(UTC) - moment).total_seconds())} ago"


def _span(seconds: float) -> str:
    """A span of time for people: 4 s, 3:05, 2:04:00."""
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{max(0, seconds):.0f} s"
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0")
