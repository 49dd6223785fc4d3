"""Make a job's plan: resolve what it names, look at the input once, and refuse early what cannot work."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from munjang.encoder.contract import ModelInfo
from munjang.encoder.postprocess import OutputOptions
from munjang.errors import InvalidJob, UnknownPrompt
from munjang.vectors import Precision
from munjang_worker.plan import Plan, serialize_schema
from munjang_worker.reading.block import ROW_NUMBER, SAMPLE, Problem, choose_columns, infer_types
from munjang_worker.reading.cutting import Cutter, ParquetCutter, TextCutter
from munjang_worker.reading.delimited import columns_of
from munjang_worker.reading.lines import Lines
from munjang_worker.reading.sources import find_sources
from munjang_worker.reading.streams import HashingStream, decompressed, open_source
from munjang_worker.reading.text import text_format

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.bulk.job import JobSpec
    from munjang.registry.layout import Manifest
    from munjang_worker.plan import InputFile
    from munjang_worker.reading.block import Columns
    from munjang_worker.reading.sources import Source
    from munjang_worker.reading.text import TextFormat
    from munjang_worker.storage import Folder

BLOCK_ROWS = 1024
"""Rows of a block for each BLOCK_TOKENS of the batch budget: enough for several batches of texts of like length."""

BLOCK_TOKENS = 4096
MAX_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How to cut: by the worker's settings, or as a job was cut that is taken up. See `WorkerSettings`."""

    input_roots: tuple[str, ...]
    shard_rows: int
    batch_tokens: int


def make_plan(
    spec: JobSpec, manifest: Manifest, folder: Folder, settings: PlanSettings, poll: Callable[[], None]
) -> Plan:
    """Plan a job on one version. Leaves parts of compressed input in the folder, but does not save the plan.

    Args:
        spec: what is asked for.
        manifest: the version's manifest.
        folder: the output folder.
        settings: how to cut.
        poll: is called often; what it raises ends the planning.

    Raises:
        InvalidJob: the input, its columns or an option cannot be used.
        InvalidRequest: the version cannot give what is asked for.
    """
    check_options(spec, manifest)
    sources = find_sources(spec, settings.input_roots)
    block_rows = BLOCK_ROWS * min(MAX_BLOCKS, -(-settings.batch_tokens // BLOCK_TOKENS))
    shard_rows = -(-settings.shard_rows // block_rows) * block_rows
    cutter = Cutter(shard_rows)
    columns, header, files = _cut(sources, spec, cutter, folder, poll)
    shards = cutter.finish()
    return Plan(
        job=spec.job_id,
        spec=spec,
        version=manifest.version,
        dimensions=spec.dimensions or manifest.dimensions,
        int8_scale=manifest.int8_scale if spec.precision is Precision.INT8 else 0.0,
        identity=_identity(spec, manifest, columns, files, sources[0].format),
        format=sources[0].format,
        header=tuple(header),
        text_column=columns.text,
        id_column=columns.id,
        columns=serialize_schema(columns.schema),
        block_rows=block_rows,
        shard_rows=shard_rows,
        batch_tokens=settings.batch_tokens,
        rows=cutter.rows,
        files=tuple(files),
        shards=shards,
        created_at=time.time(),
    )


def check_options(spec: JobSpec, manifest: Manifest) -> None:
    """Refuse what a version cannot give, before its model is loaded.

    Raises:
        InvalidRequest: the prompt is unknown, or dimensions or precision are not to be had.
    """
    info = ModelInfo(manifest.dimensions, manifest.max_tokens, int8_scale=manifest.int8_scale)
    OutputOptions(spec.dimensions, spec.normalize, spec.precision).check(info)
    if spec.prompt_name and not manifest.prompts.get(spec.prompt_name):
        known = ", ".join(sorted(manifest.prompts)) or "none"
        msg = f"version {manifest.version} has no prompt {spec.prompt_name!r}; it has: {known}"
        raise UnknownPrompt(msg, field="prompt_name")


def model_digest(manifest: Manifest) -> str:
    """A digest of a version's files."""
    entries = sorted((entry.path, entry.sha256) for entry in manifest.files)
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _cut(
    sources: list[Source], spec: JobSpec, cutter: Cutter, folder: Folder, poll: Callable[[], None]
) -> tuple[Columns, list[str], list[InputFile]]:
    if sources[0].format == "parquet":
        parquet = ParquetCutter(spec, cutter, folder, poll)
        files = [parquet.cut(source, number) for number, source in enumerate(sources)]
        return parquet.columns, [], files
    kind = text_format(sources[0].format, spec)
    columns, header = _columns(sources, kind, spec)
    texts = TextCutter(kind, cutter, folder, poll)
    return columns, header, [texts.cut(source, number) for number, source in enumerate(sources)]


def _columns(sources: list[Source], kind: TextFormat, spec: JobSpec) -> tuple[Columns, list[str]]:
    """The columns of text files and, for CSV and TSV, the header."""
    if kind.has_header:
        source, header = _header(sources, kind)
        return choose_columns(header, {}, spec, source.url), header
    if sources[0].format == "txt":
        return choose_columns([spec.text_column], {}, spec, sources[0].url), []
    return _json_columns(sources, kind, spec), []


def _header(sources: list[Source], kind: TextFormat) -> tuple[Source, list[str]]:
    """The first file that is not empty, and its header."""
    for source in sources:
        with decompressed(HashingStream(open_source(source.url)), source.compression) as stream:
            for item in kind.items(Lines(stream)):
                return source, columns_of(item)
    msg = f"input: {sources[0].url!r} is empty; its first row must name the columns"
    raise InvalidJob(msg, field="input")


def _json_columns(sources: list[Source], kind: TextFormat, spec: JobSpec) -> Columns:
    id_column = spec.id_column or "id"
    for source in sources:
        with decompressed(HashingStream(open_source(source.url)), source.compression) as stream:
            sample = [kind.values(item) for item in islice(kind.items(Lines(stream)), SAMPLE)]
        if sample:
            types = infer_types([record for record in sample if not isinstance(record, Problem)])
            if types.get(id_column, ROW_NUMBER) != ROW_NUMBER:  # ids are whole numbers or strings
                types[id_column] = pa.string()
            return choose_columns(list(types), types, spec, source.url)
    return choose_columns([spec.text_column, spec.id_column, *spec.carry_columns], {}, spec, "")  # no rows at all


def _identity(
    spec: JobSpec, manifest: Manifest, columns: Columns, files: list[InputFile], input_format: str
) -> dict[str, Any]:
    return {
        "input": [[file.size, file.sha256] for file in files],
        "input_format": input_format,
        "encoding": spec.encoding,
        "quoting": spec.quoting,
        "text_column": columns.text,
        "id_column": columns.id,
        "carry_columns": columns.carried,
        "version": manifest.version,
        "model": model_digest(manifest),
        "prompt_name": spec.prompt_name or manifest.default_prompt,
        "normalize": spec.normalize,
        "dimensions": spec.dimensions or manifest.dimensions,
        "precision": str(spec.precision),
        "truncation": spec.truncation,
        "format": spec.format,
    }
