"""A bulk job: what it should do, how it stands, and how that is kept in Redis. Reads and writes no Redis itself.

`JobSpec` checks the options of every way in, and gives the same work always the same id. `Job` is a job as it stands:

munjang:jobs                 sorted set of job ids by the time they were made
munjang:running              set of the ids of jobs that were begun; those that have ended are taken out
munjang:job:<id>             hash: spec, state, version, totals, counts of committed shards, times, message
munjang:job:<id>:done        set of the numbers of committed shards
munjang:job:<id>:running     hash: number of a shard being worked on → its `ShardProgress` as JSON
munjang:rq:<rq id>           the job id that an RQ job of `rq enqueue` stands for
munjang:waiting              hash: an RQ job that waits for the end of a job, and so is deferred → that job's id
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from munjang.encodings import printable
from munjang.errors import InvalidJob
from munjang.kinds import Role  # noqa: TC001 - pydantic needs the type at run time
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

POSITIONAL = ("input", "output")
"""The arguments of a job that may be given without their names, in order."""

NOT_IDENTITY = frozenset({"max_error_rate", "shard_rows"})
"""Options that change how a job runs and not what it makes: a job submitted again with others is the same job."""

ADDED_LATER = ("role", "prompt")
"""Options that are part of a job's identity where they are given: work without them keeps the id that it had before."""

MAX_PROMPT_CHARS = 16_384
"""The longest text of a prompt: it is read with every row, and no instruction comes near it."""

JOBS = "munjang:jobs"
"""The key of the sorted set of job ids."""

RUNNING = "munjang:running"
"""The key of the set of jobs that may be running."""

WAITING = "munjang:waiting"
"""The key of the hash of RQ jobs that end when their jobs have ended."""

STALE_SECONDS = 60.0
"""A running shard that reported nothing for so long is not counted: its worker is gone."""


def _split(value: object) -> object:
    """Columns as the RQ command line can write them: one string with commas between."""
    if isinstance(value, str):
        return [name for part in value.split(",") if (name := part.strip())]
    return value


def _or_none(value: object) -> object:
    """Nothing for an empty string, which is how a command line leaves an option out."""
    return value or None


def _name(value: object) -> object:
    """A version as a name: numbers are meant as such, and nothing means the default alias."""
    return str(value) if value else "stable"


class JobSpec(BaseModel):
    """One job. Strings are taken for numbers and booleans where those are meant, as the RQ command line sends them.

    Attributes:
        input: a file, glob or folder; a path or fsspec URL that the workers can read.
        output: a folder; a path or fsspec URL that the workers can write.
        version: the model version's number, space id or alias; the name is resolved once, when the job begins.
        role: what the texts are for: the model's own prompt and route of that role; None: its default prompt.
        prompt_name: the model's prompt to put before each text, in place of the role's.
        prompt: the text of a prompt instead; "" is none at all, also where the model has a default one.
        normalize: scale each vector to length 1.
        dimensions: keep so many leading components (Matryoshka); 0 keeps all.
        precision: the format of the vectors' components.
        truncation: "end" cuts texts at the model's limit, "none" makes such a row an error.
        text_column: where the texts are; TXT files have no columns.
        id_column: where the ids are; empty is "id" where there is such a column, else the row number.
        carry_columns: columns to copy to the output.
        format: the output's file format; "npy" is a matrix beside a file of ids.
        max_error_rate: the share of failed rows past which the job fails; None is the worker's setting.
        input_format: overrides what the files' names say.
        encoding: the text files' encoding, such as utf-8, cp949 or utf-16.
        quoting: "auto" reads CSV with quotes and TSV without; "csv" and "none" say so for both.
        shard_rows: rows of one shard, rounded up to whole blocks; 0 is the worker's setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Annotated[str, Field(min_length=1)]
    output: Annotated[str, Field(min_length=1)]
    version: Annotated[str, BeforeValidator(_name)] = "stable"
    role: Annotated[Role | None, BeforeValidator(_or_none)] = None
    prompt_name: str = ""
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS)] | None = None
    normalize: bool = True
    dimensions: Annotated[int, Field(ge=0)] = 0
    precision: Precision = Precision.FLOAT32
    truncation: Literal["end", "none"] = "end"
    text_column: Annotated[str, Field(min_length=1)] = "text"
    id_column: str = ""
    carry_columns: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    format: Literal["parquet", "jsonl", "npy"] = "parquet"
    max_error_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    input_format: Literal["auto", "jsonl", "csv", "tsv", "txt", "parquet"] = "auto"
    encoding: str = "utf-8"
    quoting: Literal["auto", "csv", "none"] = "auto"
    shard_rows: Annotated[int, Field(ge=0)] = 0

    @field_validator("input", "output")
    @classmethod
    def _normalised(cls, path: str) -> str:
        if "\0" in path:
            msg = "a path holds no null character"
            raise ValueError(msg)
        return absolute(path)

    @field_validator("prompt")
    @classmethod
    def _one_prompt(cls, prompt: str | None, info: ValidationInfo) -> str | None:
        if prompt is not None and info.data.get("prompt_name"):
            msg = "prompt_name is given too: a prompt has a name or a text, not both"
            raise ValueError(msg)
        return prompt

    @field_validator("precision")
    @classmethod
    def _storable(cls, precision: Precision) -> Precision:
        if precision is Precision.BFLOAT16:
            msg = "no file format has bfloat16; take float16 or float32"
            raise ValueError(msg)
        return precision

    @field_validator("carry_columns")
    @classmethod
    def _distinct(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        taken = [name for name in columns if columns.count(name) > 1 or name in {"id", "vector", "version", "space_id"}]
        if taken:
            msg = f"{taken[0]!r} is named twice, or is a column that the output has anyway"
            raise ValueError(msg)
        return columns

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)  # also refuses codecs that are not of texts
            return codecs.lookup(encoding).name.removesuffix("-sig")  # a byte-order mark is skipped anyway
        except (LookupError, ValueError) as error:
            msg = f"{encoding!r} is not an encoding of texts: write one such as utf-8, cp949 or utf-16"
            raise ValueError(msg) from error

    @classmethod
    def of_call(cls, args: Sequence[object], kwargs: Mapping[str, Any]) -> Self:
        """The spec of a function call, as a queue brings it.

        Raises:
            InvalidJob: an option is unknown, missing, given twice or of a wrong value; `field` says which.
        """
        if (
            not isinstance(args, list | tuple)
            or not isinstance(kwargs, dict)
            or not all(isinstance(name, str) for name in kwargs)
        ):
            msg = "the arguments are not a list and a dictionary"
            raise InvalidJob(msg)
        if len(args) > len(POSITIONAL):
            msg = f"at most input and output may be given without a name, not {args[len(POSITIONAL)]!r}"
            raise InvalidJob(msg)
        named = dict(zip(POSITIONAL, args, strict=False))
        twice = named.keys() & kwargs.keys()
        if twice:
            field = min(twice)
            msg = f"{field} is given twice"
            raise InvalidJob(msg, field=field)
        try:
            return cls.model_validate(named | dict(kwargs))
        except ValidationError as error:
            raise _invalid(error) from error

    @property
    def job_id(self) -> str:
        """The id that this work has, however often and by whatever way it is submitted."""
        identity = self.model_dump(mode="json", exclude=set(NOT_IDENTITY))
        for name in ADDED_LATER:
            if identity[name] is None:
                del identity[name]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        return f"job-{digest.hexdigest()[:20]}"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen unless it is submitted again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What a worker says of the shard that it works on; rows include failed ones, times are seconds since the epoch."""

    rows: int
    failed: int
    tokens: int
    rows_per_second: float
    worker: str
    at: float

    def dumps(self) -> str:
        """As it is kept in Redis."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What a job has done so far. Totals are 0 until they are known; `rows_done` includes failed rows."""

    rows_done: int = 0
    rows_total: int = 0
    rows_failed: int = 0
    tokens_done: int = 0
    shards_done: int = 0
    shards_running: int = 0
    shards_total: int = 0
    rows_per_second: float = 0.0
    seconds_left: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands. `version` is 0, and `space_id` empty, until the job is planned."""

    id: str
    spec: JobSpec
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    version: int = 0
    space_id: str = ""
    message: str = ""
    progress: JobProgress = field(default_factory=JobProgress)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `munjang jobs status --json` prints it."""
        return {
            "id": self.id,
            "state": str(self.state),
            "version": self.version,
            "space_id": self.space_id,
            "message": self.message,
            "created_at": _text(self.created_at),
            "started_at": _text(self.started_at),
            "ended_at": _text(self.ended_at),
            "progress": asdict(self.progress),
            "spec": self.spec.model_dump(mode="json"),
        }


def absolute(path: str) -> str:
    """A path that means the same in every working directory, without a trailing slash; URLs but file:// stay."""
    path = path.removeprefix("file://")
    if "://" in path or "::" in path:
        return path.rstrip("/")
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - globs and URLs are no pathlib paths


def is_absolute(path: str) -> bool:
    """Whether a path means the same file in every working directory."""
    return "://" in path or "::" in path or path.startswith(("/", "~"))


def job_key(job_id: str) -> str:
    """The key of a job's hash."""
    return f"munjang:job:{job_id}"


def done_key(job_id: str) -> str:
    """The key of the set of committed shards."""
    return f"munjang:job:{job_id}:done"


def running_key(job_id: str) -> str:
    """The key of the hash of shards being worked on."""
    return f"munjang:job:{job_id}:running"


def rq_key(rq_id: str) -> str:
    """The key that says which job an RQ job stands for."""
    return f"munjang:rq:{rq_id}"


def new_fields(spec: JobSpec, rq_id: str, now: float) -> dict[str, str | float]:
    """The hash of a job that waits in the queue as the RQ job `rq_id`."""
    return {"spec": spec.model_dump_json(), "state": str(JobState.QUEUED), "created_at": now, "rq_id": rq_id}


def parse_job(job_id: str, fields: Mapping[bytes, bytes], running: Iterable[bytes], now: float) -> Job:
    """A job of what Redis holds.

    Args:
        job_id: its id.
        fields: its hash.
        running: the values of its running hash.
        now: seconds since the epoch.

    Raises:
        ValueError: the hash is not one of this format.
    """
    text = {name.decode(): value.decode() for name, value in fields.items()}
    shards = [ShardProgress(**json.loads(value)) for value in running]
    state = JobState(text["state"])
    alive = [shard for shard in shards if state is JobState.RUNNING and now - shard.at < STALE_SECONDS]
    started = _time(text.get("started_at"))
    return Job(
        id=job_id,
        spec=JobSpec.model_validate_json(text["spec"]),
        state=state,
        created_at=_time(text.get("created_at")) or datetime.fromtimestamp(0, UTC),
        started_at=started,
        ended_at=_time(text.get("ended_at")),
        version=int(text.get("version") or 0),
        space_id=text.get("space_id", ""),
        message=text.get("message", ""),
        progress=_progress(text, alive, now - started.timestamp() if started else 0.0),
    )


def _progress(text: Mapping[str, str], running: list[ShardProgress], seconds: float) -> JobProgress:
    counts = {name: int(text.get(name) or 0) for name in ("rows_done", "rows_failed", "tokens_done", "shards_done")}
    done = counts["rows_done"] + sum(shard.rows for shard in running)
    total = int(text.get("rows_total") or 0)
    rate = sum(shard.rows_per_second for shard in running)
    if not rate and seconds > 0 and text["state"] == JobState.RUNNING:
        rate = done / seconds
    return JobProgress(
        rows_done=done,
        rows_total=total,
        rows_failed=counts["rows_failed"] + sum(shard.failed for shard in running),
        tokens_done=counts["tokens_done"] + sum(shard.tokens for shard in running),
        shards_done=counts["shards_done"],
        shards_running=len(running),
        shards_total=int(text.get("shards_total") or 0),
        rows_per_second=rate,
        seconds_left=max(0, total - done) / rate if rate and total else 0.0,
    )


def _time(value: str | None) -> datetime | None:
    return datetime.fromtimestamp(float(value), UTC) if value else None


def _text(value: datetime | None) -> str:
    return value.isoformat(timespec="milliseconds") if value else ""


def _invalid(error: ValidationError) -> InvalidJob:
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(JobSpec.model_fields)
        hint = ' (write a URL that holds "=" as \':"URL"\' for rq enqueue)' if "/" in field else ""
        return InvalidJob(f"there is no option {field!r}{hint}; there are {known}", field=field)
    if first["type"] == "string_unicode":
        return InvalidJob(f"{field}: {printable(str(first['input']))!r} is not UTF-8: rename it", field=field)
    if first["type"] == "missing":
        return InvalidJob(f"{field} is missing", field=field)
    return InvalidJob(f"{field}: {first['msg'].removeprefix('Value error, ')}", field=field)
