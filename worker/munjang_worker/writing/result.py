"""What a finished shard leaves beside its files: the record that says it is finished, and its bad rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from munjang_worker.writing.plain import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_worker.storage import Folder

SHARDS = ".munjang/shards"
ERRORS = ".munjang/errors"


class Part(BaseModel):
    """One output file; `size` in bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    sha256: str


class ShardResult(BaseModel):
    """A finished shard. It is finished when this stands in the output folder: it is written after all else.

    Attributes:
        number: which shard of the plan.
        rows: rows with a vector.
        failed: rows in the error file.
        tokens: what the model read.
        truncated: texts that were cut at the model's limit.
        seconds: how long it took.
        parts: its files.
        worker: who made it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    rows: int
    failed: int
    tokens: int
    truncated: int
    seconds: float
    parts: tuple[Part, ...]
    worker: str

    def save(self, folder: Folder) -> None:
        """Commit the shard."""
        folder.write(_name(self.number), self.model_dump_json().encode())


def load_result(folder: Folder, number: int) -> ShardResult | None:
    """A finished shard's record; None if it is not finished."""
    data = folder.read(_name(number))
    if data is None:
        return None
    try:
        return ShardResult.model_validate_json(data)
    except ValidationError:
        return None


def forget_result(folder: Folder, number: int) -> None:
    """Let a shard count as not finished."""
    folder.remove(_name(number))


def save_errors(folder: Folder, number: int, errors: Sequence[dict[str, object]]) -> None:
    """Write a shard's bad rows, if there are any."""
    if not errors:
        return
    lines = [dumps(error) + "\n" for error in errors]
    folder.write(errors_name(number), "".join(lines).encode("utf-8", "backslashreplace"))


def errors_name(number: int) -> str:
    """Where a shard's bad rows are; nowhere if it has none."""
    return f"{ERRORS}/{number:06d}.jsonl"


def _name(number: int) -> str:
    return f"{SHARDS}/{number:06d}.json"
