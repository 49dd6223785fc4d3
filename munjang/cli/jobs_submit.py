"""`munjang jobs submit`: the options of a job, each as `JobSpec` has it."""

from typing import Annotated, Any

import typer

from munjang.bulk.job import JobSpec
from munjang.cli import console, jobs_print, options
from munjang.cli.jobs_connect import connect_jobs, follow

INPUT = "Input"
OUTPUT = "Output"


def submit(
    source: Annotated[str, typer.Argument(help="A file, glob or folder: a path or URL.", metavar="INPUT")],
    output: Annotated[str, typer.Argument(help="A folder: a path or URL.", metavar="OUTPUT")],
    *,
    text_column: Annotated[str, typer.Option(help="Where the texts are.", rich_help_panel=INPUT)] = "text",
    id_column: Annotated[
        str,
        typer.Option(
            help="Where the ids are. Default: id, else the row number.", show_default=False, rich_help_panel=INPUT
        ),
    ] = "",
    input_format: Annotated[
        str, typer.Option(help="jsonl, csv, tsv, txt or parquet; auto goes by the names.", rich_help_panel=INPUT)
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
    prompt: Annotated[str, typer.Option(help="One of the model's prompts, such as passage.")] = "",
    truncation: Annotated[str, typer.Option(help="end cuts long texts; none makes such rows errors.")] = "end",
    max_error_rate: Annotated[
        float | None,
        typer.Option(help="The share of failed rows past which the job fails. Default: the worker's.", min=0, max=1),
    ] = None,
    shard_rows: Annotated[int, typer.Option(help="Rows that a worker takes at a time; 0: its setting.", min=0)] = 0,
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
    """Embed a whole file, glob or folder in the background; prints the job's id.

    The same work submitted twice is one job. Work that was begun before goes on from its finished shards.

    Examples:
      munjang jobs submit sentences.jsonl vectors --precision int8 --wait

      munjang jobs submit "s3://bucket/docs/*.parquet" s3://bucket/vectors --text-column body --carry title
    """
    given: dict[str, Any] = {
        "version": version,
        "prompt_name": prompt,
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
    with connect_jobs(redis, target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as jobs:
        job, existing = jobs.submit(spec)
        if existing:
            console.note("the same work is queued or running already")
        if wait:
            follow(jobs, job.id, as_json=as_json)
        else:
            jobs_print.print_job_id(job, as_json=as_json)
