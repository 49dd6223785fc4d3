"""`munjang jobs …`: whole files embedded in the background, by way of the queue itself or of a server.

With --redis or MUNJANG_REDIS_URL the commands talk to the queue; otherwise to the server, which is a front of it. What
is printed is in `jobs_print`.
"""

from typing import Annotated

import typer

from munjang.cli import console, jobs_print, options
from munjang.cli.jobs_connect import connect_jobs, follow
from munjang.cli.jobs_submit import submit

app = typer.Typer(no_args_is_help=True, help="Submit, list, watch, cancel and retry bulk jobs.")
app.command()(submit)

JobId = Annotated[str, typer.Argument(help="The job's id, or the one that rq enqueue printed.", metavar="JOB")]


@app.command("list")
def list_jobs(
    *,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 20,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """List the jobs that the queue remembers, newest first.

    Example:
      munjang jobs list
    """
    with connect_jobs(redis, target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as jobs:
        found = jobs.recent(limit)
    if as_json:
        console.print_json([job.as_dict() for job in found])
    else:
        screen = console.stdout()
        screen.print(jobs_print.table(found, screen.width) if found else "no jobs")


@app.command()
def status(
    job: JobId,
    *,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """Show how a job stands: state, rows, shards, speed, time left.

    Example:
      munjang jobs status job-f482d3c13b9ba716a5f5
    """
    with connect_jobs(redis, target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as jobs:
        jobs_print.print_job(jobs.get(job), as_json=as_json)


@app.command()
def watch(
    job: JobId,
    *,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """Show a job's progress until it has ended; the exit status is 0 if it succeeded.

    With --json a line for every change. Ctrl-C stops watching, not the job.

    Example:
      munjang jobs watch job-f482d3c13b9ba716a5f5
    """
    with connect_jobs(redis, target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as jobs:
        follow(jobs, job, as_json=as_json)


@app.command()
def cancel(
    job: JobId,
    *,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """Stop a job at its next batch; finished shards stay, and `munjang jobs retry` goes on from them.

    Example:
      munjang jobs cancel job-f482d3c13b9ba716a5f5
    """
    with connect_jobs(redis, target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as jobs:
        jobs_print.print_job(jobs.cancel(job), as_json=as_json)


@app.command()
def retry(
    job: JobId,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the job until it has ended.")] = False,
    as_json: options.Json = False,
    redis: options.RedisUrl = "",
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """Queue a failed or cancelled job again; it goes on from its finished shards.

    Example:
      munjang jobs retry job-f482d3c13b9ba716a5f5 --wait
    """
    with connect_jobs(redis, target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as jobs:
        again = jobs.retry(job)
        if wait:
            follow(jobs, again.id, as_json=as_json)
        else:
            jobs_print.print_job(again, as_json=as_json)
