"""Writing one shard's rows: the contract of the formats, and which one a job means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from munjang_worker.plan import Plan


class ShardWriter(Protocol):
    """Writes the files of one shard, block by block."""

    def write(self, table: pa.Table, vectors: NDArray[np.generic]) -> None:
        """Add rows: id and carried columns [n], and vectors [n, d] in the job's precision (ubinary: bytes [n, d/8])."""

    def close(self) -> None:
        """Finish the files."""


def part_names(output_format: str, number: int, shards: int) -> tuple[str, ...]:
    """The files of one of so many shards, in the order that a writer takes their paths; sorted, they are in order."""
    stem = f"part-{number:0{max(5, len(str(shards - 1)))}d}"
    match output_format:
        case "jsonl":
            return (f"{stem}.jsonl",)
        case "npy":
            return (f"{stem}.npy", f"{stem}.ids.jsonl")
        case _:
            return (f"{stem}.parquet",)


def open_writer(plan: Plan, paths: tuple[Path, ...], metadata: Mapping[str, str]) -> ShardWriter:
    """A writer of the job's format; `metadata` goes into the file where the format has a place for it."""
    match plan.spec.format:
        case "jsonl":
            from munjang_worker.writing.jsonl import JsonlWriter  # noqa: PLC0415 - one format is used

            return JsonlWriter(paths[0], plan)
        case "npy":
            from munjang_worker.writing.npy import NpyWriter  # noqa: PLC0415 - one format is used

            return NpyWriter(paths[0], paths[1], plan)
        case _:
            from munjang_worker.writing.parquet import ParquetWriter  # noqa: PLC0415 - one format is used

            return ParquetWriter(paths[0], plan, metadata)
