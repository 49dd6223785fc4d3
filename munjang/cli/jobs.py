"""`munjang jobs …`: embed whole files in the background, through the queue itself or through a server.

With --redis or MUNJANG_REDIS_URL the commands talk to the queue; otherwise to a server, which forwards to it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from munjang.bulk import ERRORS
from munjang.bulk.job import Job, JobSpec, JobState
from munjang.cli import console, options
from munjang.cli.options import read_settings
from munjang.errors import JobError, MunjangError
from munjang.settings import ClientSettings

if TYPE_CHECKING:
    from munjang.client.job_client import JobClient
    from munjang.client.jobs import JobQueue

app = typer.Typer(no_args_is_help=True, help="Submit, list, watch, cancel and retry bulk jobs.")

JobId = Annotated[str, typer.Argument(help="The job's id, or the one that rq enqueue printed.", metavar="JOB")]


INPUT = "Input"
OUTPUT = "Output"

COLORS = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}

WIDE = 120
"""From this many terminal columns on, a table of jobs shows everything."""


@app.command()
@options.calls_server
def submit(
    source: Annotated[str, typer.Argument(help="A file, glob or folder: a path or URL.", metavar="INPUT")],
    output: Annotated[str, typer.Argument(help="A folder: a path or URL.", metavar="OUTPUT")],
    *,
    text_column: Annotated[str, typer.Option(help="The column of the texts.", rich_help_panel=INPUT)] = "text",
    id_column: Annotated[
        str,
        typer.Option(
            help="The column of the ids. Default: id, else the row number.", show_default=False, rich_help_panel=INPUT
        ),
    ] = "",
    input_format: Annotated[
        str, typer.Option(help="jsonl, csv, tsv, txt or parquet; auto: by the file names.", rich_help_panel=INPUT)
    ] = "auto",
    encoding: Annotated[str, typer.Option(help="Of text files, such as cp949.", rich_help_panel=INPUT)] = "utf-8",
    quoting: Annotated[
        str,
        typer.Option(help="csv or none, for CSV and TSV; auto: CSV has quotes, TSV has none.", rich_help_panel=INPUT),
    ] = "auto",
    carry: Annotated[
        list[str] | None,
        typer.Option("--carry", help="A column to copy to the output; may be given again.", rich_help_panel=OUTPUT),
    ] = None,
    output_format: Annotated[
        str, typer.Option("--format", help="parquet, jsonl or npy.", rich_help_panel=OUTPUT)
    ] = "parquet",
    precision: Annotated[
        str, typer.Option(help="float32, float16, int8 or ubinary.", rich_help_panel=OUTPUT)
    ] = "float32",
    normalize: Annotated[bool, typer.Option(help="Scale each vector to length 1.", rich_help_panel=OUTPUT)] = True,
    dimensions: options.Dimensions = 0,
    version: options.Version = "",
    role: options.PromptRole = None,
    prompt: options.PromptName = "",
    prompt_text: options.PromptText = None,
    no_prompt: options.NoPrompt = False,
    truncation: Annotated[str, typer.Option(help="end cuts long texts; none makes such rows errors.")] = "end",
    max_error_rate: Annotated[
        float | None,
        typer.Option(help="The share of failed rows above which the job fails. Default: the worker's.", min=0, max=1),
    ] = None,
    shard_rows: Annotated[int, typer.Option(help="Rows that a worker takes at a time; 0: its setting.", min=0)] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the job until it has ended.")] = False,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    server: options.Server,
) -> None:
    """Embed a whole file, glob or folder in the background; prints the job's id.

    The same work submitted twice is one job. Work that was started before resumes from its finished shards.

    Examples:
      munjang jobs submit sentences.jsonl vectors --precision int8 --wait

      munjang jobs submit "s3://bucket/docs/*.parquet" s3://bucket/vectors --text-column body --carry title
    """
    given: dict[str, Any] = {
        "version": version,
        **options.prompt_choice(role, prompt, prompt_text, none=no_prompt),
        "normalize": normalize,
        "dimensions": dimensions,
        "precision": precision,
        "truncation": truncation,
        "text_column": text_column,
        "id_column": id_column,
        "carry_columns": carry or [],
        "format": output_format,
        "max_error_rate": max_error_rate,
        "input_format": input_format,
        "encoding": encoding,
        "quoting": quoting,
        "shard_rows": shard_rows,
    }
    spec = JobSpec.of_call((source, output), given)
    with _connect(redis, server) as jobs:
        job, existing = jobs.submit(spec)
        if existing:
            console.note("the same work is queued or running already")
        if wait:
            _follow(jobs, job.id, as_json=as_json)
        else:
            _print_job_id(job, as_json=as_json)


@app.command("list")
@options.calls_server
def list_jobs(
    *,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 20,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    server: options.Server,
) -> None:
    """List the jobs that the queue remembers, newest first.

    Example:
      munjang jobs list
    """
    with _connect(redis, server) as jobs:
        found = jobs.recent(limit)
    if as_json:
        console.print_json([job.as_dict() for job in found])
    else:
        screen = console.stdout()
        screen.print(table(found, screen.width) if found else "no jobs")


@app.command()
@options.calls_server
def status(
    job: JobId,
    *,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    server: options.Server,
) -> None:
    """Show the state of a job: rows, shards, speed, time left.

    Example:
      munjang jobs status job-f482d3c13b9ba716a5f5
    """
    with _connect(redis, server) as jobs:
        _print_job(jobs.get(job), as_json=as_json)


@app.command()
@options.calls_server
def watch(
    job: JobId,
    *,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    server: options.Server,
) -> None:
    """Show a job's progress until it has ended; the exit status is 0 if it succeeded.

    With --json one line per change. Ctrl-C stops watching, not the job.

    Example:
      munjang jobs watch job-f482d3c13b9ba716a5f5
    """
    with _connect(redis, server) as jobs:
        _follow(jobs, job, as_json=as_json)


@app.command()
@options.calls_server
def cancel(
    job: JobId,
    *,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    server: options.Server,
) -> None:
    """Stop a job at its next batch; finished shards stay, and `munjang jobs retry` resumes from them.

    Example:
      munjang jobs cancel job-f482d3c13b9ba716a5f5
    """
    with _connect(redis, server) as jobs:
        _print_job(jobs.cancel(job), as_json=as_json)


@app.command()
@options.calls_server
def retry(
    job: JobId,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the job until it has ended.")] = False,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    server: options.Server,
) -> None:
    """Queue a failed or cancelled job again; it resumes from its finished shards.

    Example:
      munjang jobs retry job-f482d3c13b9ba716a5f5 --wait
    """
    with _connect(redis, server) as jobs:
        again = jobs.retry(job)
        if wait:
            _follow(jobs, again.id, as_json=as_json)
        else:
            _print_job(again, as_json=as_json)


@contextmanager
def _connect(redis: str, server: options.Server) -> "Iterator[JobQueue | JobClient]":
    """The queue, or a server in front of it."""
    url = redis or ("" if server.target else read_settings(ClientSettings).redis_url)
    jobs = _queue(url) if url else _client(server)
    try:
        yield jobs
    finally:
        jobs.close()


def _queue(url: str) -> "JobQueue":
    try:
        from munjang.client.jobs import JobQueue  # noqa: PLC0415 - redis and rq, for those who use them
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed: pip install 'munjang[jobs]', or go by way of a server with --target"
        raise MunjangError(msg) from error
    return JobQueue(url)


def _client(server: options.Server) -> "JobClient":
    from munjang.client.job_client import JobClient  # noqa: PLC0415 - grpc, where no queue is at hand

    return JobClient(**server.client_options())


def _follow(jobs: "JobQueue | JobClient", job_id: str, *, as_json: bool) -> None:
    """Show a job until it has ended.

    Raises:
        JobError: it failed or was cancelled.
    """
    last: Job | None = None
    with _progress(as_json=as_json) as show:
        for last in jobs.watch(job_id):
            show(last)
    if last is None or last.state is not JobState.SUCCEEDED:
        state, message = (last.state, last.message) if last else ("unknown", "")
        msg = f"{job_id} {state}: {message}"
        raise JobError(msg)
    if not as_json:
        _print_job(last, as_json=False)


def table(jobs: Sequence[Job], width: int) -> Table:
    """Jobs as a table, one per row; on a terminal of fewer than WIDE columns, without what `status` shows too."""
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


def _print_job_id(job: Job, *, as_json: bool) -> None:
    """Print a job that was submitted."""
    if as_json:
        console.print_json(job.as_dict())
    else:
        console.stdout().print(job.id, markup=False)
        console.note(f"munjang jobs watch {job.id}")


def _print_job(job: Job, *, as_json: bool) -> None:
    """Print one job."""
    if as_json:
        console.print_json(job.as_dict())
        return
    page = Table(show_header=False, box=None)
    for name, value in _facts(job):
        page.add_row(f"[dim]{name}[/]", value)
    console.stdout().print(page)


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Callable[[Job], None]]:
    """Yield a function that takes a job's changes: a bar on a terminal, else lines on standard error.

    With `as_json` one line of JSON on standard output per change.
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
        *([("space", job.space_id)] if job.space_id else []),
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
