"""Settings: how the bulk worker runs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from munjang.settings.engine import EngineSettings
from munjang.settings.kinds import Positive, Seconds, Share


class WorkerSettings(EngineSettings):
    """How the bulk worker runs."""

    worker_processes: Positive = Field(
        default=1,
        description="Worker processes of one `munjang work`, each with its own model in memory. Raise it where one "
        "process leaves cores or a GPU idle; on a CPU they share the threads.",
    )
    shard_rows: Positive = Field(
        default=8192,
        description="Rows of one shard, the unit that a worker takes, commits and would do again. Raise it on a fast "
        "GPU or for short texts, lower it for long texts on a CPU. Rounded up to whole blocks of 1,024.",
    )
    max_error_rate: Share = Field(
        default=0.5,
        description="The share of failed rows past which a job fails, where the job says nothing. Lower it where a "
        "missing vector is worse than a late one; 0 lets no row fail.",
    )
    max_row_chars: Positive = Field(
        default=1_000_000,
        description="The most characters in one row's text; a longer one becomes an error of that row. Lower it where "
        "such a row is a mistake.",
    )
    step_seconds: Positive = Field(
        default=4 * 3600,
        description="How long planning a job, one shard or its end may take, where nobody said so with the job (and "
        "rq's own default of 180 counts as nobody). Lower it to give up stuck storage sooner.",
    )
    step_attempts: Positive = Field(
        default=4,
        description="How often a step is tried, a worker's death in the middle counted, before its job fails. Raise it "
        "on machines that are taken away often.",
    )
    heartbeat_seconds: Seconds = Field(
        default=5.0, description="How often a busy worker says that it lives. Lower it together with lease_seconds."
    )
    lease_seconds: Positive = Field(
        default=40,
        description="After so long without a heart-beat a worker counts as dead and its step goes to another. Raise it "
        "where machines stand still for longer; at least three heart-beats.",
    )
    maintenance_seconds: Positive = Field(
        default=5, description="How often an idle worker looks for steps of dead workers. Lower it to take over sooner."
    )
    keep_seconds: Positive = Field(
        default=7 * 86400,
        description="How long an ended job is remembered in Redis; its output folder is not touched. Raise it for "
        "audits.",
    )
    input_roots: str = Field(
        default="",
        description="Places that jobs may read, paths or URLs with commas between; empty allows all. Set it where "
        "others may submit jobs.",
    )
    output_roots: str = Field(
        default="",
        description="Places that jobs may write, paths or URLs with commas between; empty allows all. Set it where "
        "others may submit jobs.",
    )
    worker_metrics_host: str = Field(
        default="127.0.0.1",
        description="The address of the worker's Prometheus metrics page. Set 0.0.0.0 to be scraped from elsewhere.",
    )
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0,
        description="The port of the worker's Prometheus metrics page, the next ports those of further processes; 0 "
        "serves none.",
    )

    @model_validator(mode="after")
    def _lease_holds(self) -> Self:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            msg = f"lease_seconds ({self.lease_seconds}) must be at least three heartbeat_seconds"
            raise ValueError(msg)
        return self
