"""The plan of a job as it is kept in its output folder: its work, split into shards and pinned to one model version.

The output folder is the truth of a job: the plan, the finished shards beside it and, at the end, the manifest. Redis
only distributes the work. Making a plan is left to `plan_job`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from munjang.bulk.job import JobSpec  # noqa: TC001 - pydantic needs the type at run time
from munjang.encoder.postprocess import OutputOptions
from munjang.errors import InvalidJob, JobConflict
from munjang_worker.block import Columns

if TYPE_CHECKING:
    from munjang_worker.storage import Folder

FORMAT = 1
PLAN = ".munjang/plan.json"
STAGED = ".munjang/input"
"""Where the parts of compressed input are kept until the job has ended."""


class Record(BaseModel):
    """Data in the output folder; fields that later releases add are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class InputFile(Record):
    """One input file, and what was in it when the job was planned; `size` in bytes."""

    url: str
    size: int
    sha256: str


class LeftOut(Record):
    """What an input folder or glob holds and the job does not read: a file or folder, and why."""

    name: str
    why: str


class Segment(Record):
    """A part of one input file.

    Attributes:
        file: the file's place in the plan.
        start: where it begins: a byte of a text file, a row of a Parquet file.
        end: where it ends, in the same unit.
        rows: how many rows it has.
        staged: the file below the output folder that holds it instead, or "".
        sha256: of its lines, for text files; of the file's footer for Parquet.
    """

    file: int
    start: int
    end: int
    rows: int
    staged: str = ""
    sha256: str = ""


class Shard(Record):
    """Consecutive rows of the input that are worked on as one."""

    first_row: int
    rows: int
    segments: tuple[Segment, ...]


class ShardBuilder:
    """Collects segments into shards of exactly `shard_rows` rows; the last may have fewer, also none."""

    def __init__(self, shard_rows: int) -> None:
        self._shard_rows = shard_rows
        self._shards: list[Shard] = []
        self._segments: list[Segment] = []
        self.rows = 0

    @property
    def room(self) -> int:
        """How many rows still fit into the current shard."""
        return self._shard_rows - self.rows % self._shard_rows

    @property
    def number(self) -> int:
        """The number of the current shard."""
        return len(self._shards)

    def add(self, segment: Segment) -> None:
        """Put a segment into the current shard, which must have room for it."""
        self._segments.append(segment)
        self.rows += segment.rows
        if self.rows % self._shard_rows == 0:
            self._close()

    def finish(self) -> tuple[Shard, ...]:
        """All shards, at least one."""
        if self._segments or not self._shards:
            self._close()
        return tuple(self._shards)

    def _close(self) -> None:
        rows = sum(segment.rows for segment in self._segments)
        self._shards.append(Shard(first_row=self.rows - rows, rows=rows, segments=tuple(self._segments)))
        self._segments = []


class Plan(Record):
    """What a job does, down to the batch.

    Attributes:
        job: the job's id.
        spec: what was asked for.
        version: the model version that makes every vector.
        space_id: its space; "" in plans of older releases.
        dimensions: components of an output vector.
        int8_scale: the value of one int8 step; 0 for other precisions.
        identity: everything that decides the output; `fingerprint` is its digest.
        text_column, id_column, columns: see `Columns`; the schema is serialised as base64.
        format: the input's format.
        header: the columns of CSV and TSV files.
        block_rows: rows that are planned and batched together. Blocks begin at multiples of it whatever the
            shards' size, and batches never cross them, so a text's batch does not depend on how the input is split.
        shard_rows: rows of each shard but the last, a multiple of `block_rows`.
        batch_tokens: the most tokens of one batch, padding included.
    """

    format_version: int = FORMAT
    job: str
    spec: JobSpec
    version: int
    space_id: str = ""
    dimensions: int
    int8_scale: float
    identity: dict[str, Any]
    format: str
    header: tuple[str, ...] = ()
    text_column: str
    id_column: str | None
    columns: str
    block_rows: int
    shard_rows: int
    batch_tokens: int
    rows: int
    files: tuple[InputFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    shards: tuple[Shard, ...]
    created_at: float

    @property
    def fingerprint(self) -> str:
        """The sha256 of the identity, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def chosen(self) -> Columns:
        """The columns that the job reads."""
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.columns)))
        return Columns(self.text_column, self.id_column or None, schema)  # "" in plans of older releases

    @property
    def options(self) -> OutputOptions:
        """How the vectors come out."""
        return OutputOptions(self.spec.dimensions, self.spec.normalize, self.spec.precision)

    def changed(self, segment: Segment) -> InvalidJob:
        """The error that a segment's file is not what was planned."""
        url = self.files[segment.file].url
        return InvalidJob(f"input: {url!r} has changed since the job was planned", field="input")

    def urls(self, shard: int, first: int, end: int) -> list[str]:
        """The files that hold a shard's rows from `first` up to `end`."""
        found: list[str] = []
        start = self.shards[shard].first_row
        for segment in self.shards[shard].segments:
            if start < end and first < start + segment.rows:
                found.append(self.files[segment.file].url)
            start += segment.rows
        return found

    def save(self, folder: Folder) -> None:
        """Write it into the output folder."""
        folder.write(PLAN, self.model_dump_json().encode())


def load_plan(folder: Folder) -> Plan | None:
    """The plan in an output folder; None if there is none.

    Raises:
        JobConflict: the folder's plan cannot be read.
    """
    data = folder.read(PLAN)
    if data is None:
        return None
    try:
        return Plan.model_validate_json(data)
    except ValidationError as error:
        msg = f"the plan in {folder.url!r} cannot be read; remove the folder to start over"
        raise JobConflict(msg, field="output") from error


def serialize_schema(schema: pa.Schema) -> str:
    """An Arrow schema as base64 text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


def require_same_work(old: dict[str, Any], new: dict[str, Any], url: str) -> None:
    """Refuse to continue in a folder that holds other work.

    Raises:
        JobConflict: the identities differ; the message names the difference.
    """
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            msg = f"{url!r} holds other work: {_difference(name, old.get(name), new.get(name))}"
            raise JobConflict(msg + "; choose another output folder, or remove this one", field="output")


def _difference(name: str, old: object, new: object) -> str:
    if name == "input":
        return "the input has changed since"
    if name == "model":
        return "the version number names another model now"
    return f"it was made with {name} {old!r}, not {new!r}"
