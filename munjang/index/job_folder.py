"""The folder of a finished job, as loading reads it: its manifest, and the rows of its Parquet files, shard by shard.

The folder is the truth: its files are read and never changed. Whether a file is whole is told by its sha256.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from munjang.bulk import MANIFEST
from munjang.errors import HashMismatch, InvalidJob
from munjang.index.layout import RESERVED, Layout, Rows, as_text, content_hash
from munjang.registry.layout import SPACE_PATTERN
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE_HERE = frozenset({"id", "vector", "version", "space_id"})
"""Columns of a part that are not carried."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a job: its number, its Parquet file, the file's sha256, and how many rows it has."""

    number: int
    name: str
    sha256: str
    rows: int


class JobFolder:
    """The folder of a job that has succeeded, at a path or an fsspec URL.

    Attributes:
        url: the folder.
        fingerprint: the digest of everything that decided the output.
        version: the model version of every row.
        layout: what a table for its rows holds.
        shards: the shards.
        rows: how many rows have a vector.
    """

    def __init__(self, url: str, *, similarity: str = "", text_column: str = "") -> None:
        """Read the manifest and the schema.

        Args:
            url: the folder.
            similarity: the model's similarity function, where the manifest does not name it.
            text_column: the carried column that holds the texts; "" is the job's own text column if it was carried.

        Raises:
            InvalidJob: there is no manifest, or the folder cannot be loaded; the message says what to do.
        """
        self.url = url.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.url)
        manifest = self._manifest()
        self.fingerprint = str(manifest["fingerprint"])
        self.version = int(manifest["version"])
        self.rows = int(manifest["rows_encoded"])
        self.shards = tuple(
            Shard(shard["number"], part["name"], part["sha256"], shard["rows"])
            for shard in manifest["shards"]
            for part in shard["parts"]
        )
        self.layout = self._layout(manifest, similarity or str(manifest.get("similarity", "")), text_column)

    def read(self, shard: Shard) -> Rows:
        """The rows of a shard, after its file was checked.

        Raises:
            HashMismatch: the file is not what the manifest says.
            InvalidJob: an id is missing.
        """
        with self._fs.open(f"{self._root}/{shard.name}", "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != shard.sha256:
            msg = f"{self.url}/{shard.name} is damaged: its sha256 is not the one in the manifest"
            raise HashMismatch(msg)
        return self._rows(pq.read_table(io.BytesIO(data)))

    def ids(self) -> Iterator[list[Any]]:
        """The ids of each shard."""
        for shard in self.shards:
            with self._parquet(shard) as file:
                yield _ids(file.read(columns=["id"]), self.layout)

    def require_unique_ids(self) -> None:
        """Refuse a job in which two rows have one id: an index holds each id once.

        Raises:
            InvalidJob: there are two; the message names one.
        """
        ids = pa.chunked_array(self.ids())
        if pc.count_distinct(ids).as_py() < len(ids):
            counts = pc.value_counts(ids)
            twice = next(one["values"] for one in counts.to_pylist() if one["counts"] > 1)
            msg = f"{self.url} has more than one row of id {twice!r}, and an index holds each id once"
            raise InvalidJob(msg, field="id_column")

    def _manifest(self) -> dict[str, Any]:
        try:
            with self._fs.open(posixpath.join(self._root, MANIFEST), "rb") as file:
                found = json.loads(file.read())
        except FileNotFoundError as error:
            msg = f"{self.url} holds no {MANIFEST}: it is no job's folder, or the job has not succeeded"
            raise InvalidJob(msg, field="job_folder") from error
        except ValueError as error:
            msg = f"{self.url}/{MANIFEST} is not valid JSON"
            raise InvalidJob(msg, field="job_folder") from error
        space = found.get("space_id", "")
        if not isinstance(space, str) or not SPACE_PATTERN.fullmatch(space):
            msg = f"{self.url}/{MANIFEST} names no space_id: the job was done by an older munjang; run it again"
            raise InvalidJob(msg, field="job_folder")
        if found["options"]["format"] != "parquet":
            kind = found["options"]["format"]
            msg = f"{self.url} holds {kind} files; an index is loaded from those of --format parquet"
            raise InvalidJob(msg, field="format")
        return dict(found)

    def _layout(self, manifest: dict[str, Any], similarity: str, text_column: str) -> Layout:
        options, spec = manifest["options"], manifest["spec"]
        if not similarity:
            msg = f"{self.url}/{MANIFEST} does not name the model's similarity function: give it as --similarity"
            raise InvalidJob(msg, field="similarity")
        schema = self._schema()
        columns = tuple((field.name, _column_type(field.type)) for field in schema if field.name not in MADE_HERE)
        taken = [name for name, _ in columns if name in RESERVED]
        if taken:
            msg = f"the carried column {taken[0]!r} has the name of a column that every index has"
            raise InvalidJob(msg, field="carry_columns")
        names = [name for name, _ in columns]
        text = text_column or (options["text_column"] if options["text_column"] in names else "")
        if text and dict(columns).get(text) != "text":
            msg = f"{self.url} carries no column {text!r} of text; it carries {', '.join(map(repr, names)) or 'none'}"
            raise InvalidJob(msg, field="text_column")
        return Layout(
            space_id=manifest["space_id"],
            dimensions=manifest["dimensions"],
            cut=spec["dimensions"] > 0,
            precision=Precision(options["precision"]),
            similarity=similarity,
            normalized=options["normalize"],
            int8_scale=manifest["int8_scale"],
            role=spec.get("role") or "",
            prompt_name=spec["prompt_name"],
            prompt=spec.get("prompt"),
            truncation=options["truncation"],
            id_type=_id_type(schema.field("id").type),
            columns=columns,
            text_column=text,
        )

    def _schema(self) -> pa.Schema:
        with self._parquet(self.shards[0]) as file:
            return file.schema_arrow

    @contextmanager
    def _parquet(self, shard: Shard) -> Iterator[pq.ParquetFile]:
        try:
            with self._fs.open(f"{self._root}/{shard.name}", "rb") as file:
                yield pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            msg = f"{self.url}/{shard.name} is damaged: {error}"
            raise HashMismatch(msg) from error

    def _rows(self, table: pa.Table) -> Rows:
        layout = self.layout
        columns = {name: _values(table.column(name), plain=kind == "text") for name, kind in layout.columns}
        count = len(table)
        texts = columns.get(layout.text_column, [None] * count)
        values = list(zip(*columns.values(), strict=True)) or [()] * count
        return Rows(
            ids=_ids(table, layout),
            vectors=vectors_of(table.column("vector"), layout),
            versions=[self.version] * count,
            hashes=[content_hash(text, row) for text, row in zip(texts, values, strict=True)],
            columns=columns,
        )


def vectors_of(column: pa.ChunkedArray, layout: Layout) -> Any:
    """A column of vectors as an array [n, layout.width]."""
    found = column.combine_chunks()
    if kinds.is_fixed_size_binary(found.type):
        flat = np.frombuffer(found.buffers()[1], np.uint8, len(found) * layout.width, found.offset * layout.width)
    else:
        flat = found.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(found), layout.width).astype(layout.dtype, copy=False)


def _ids(table: pa.Table, layout: Layout) -> list[Any]:
    found = table.column("id").to_pylist()
    return found if layout.id_type == "int" else [str(one) for one in found]


def _id_type(kind: pa.DataType) -> str:
    if kinds.is_integer(kind) and kind != pa.uint64():
        return "int"
    if kinds.is_string(kind):
        return "str"
    msg = f"an index has ids of whole numbers or text, and the job's are {kind}"
    raise InvalidJob(msg, field="id_column")


def _column_type(kind: pa.DataType) -> str:
    if kinds.is_boolean(kind):
        return "bool"
    if kinds.is_integer(kind) and kind != pa.uint64():
        return "int"
    return "float" if kinds.is_floating(kind) else "text"


def _values(column: pa.ChunkedArray, *, plain: bool) -> list[Any]:
    """The values of a carried column; what is no number, boolean or text becomes JSON, dates and times ISO 8601."""
    found: list[Any] = column.to_pylist()
    if not plain or kinds.is_string(column.type):
        return found
    return [one if one is None or isinstance(one, str) else as_text(one) for one in found]
