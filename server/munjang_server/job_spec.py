"""The job that a request asks for: checked, and its faults named by their path in the request."""

from __future__ import annotations

from typing import Any, Final

from munjang.bulk.job import JobSpec, is_absolute
from munjang.errors import InvalidJob, UnsupportedPrecision
from munjang.v1 import job_service_pb2 as pb2
from munjang_server.options import cuts, output_options

FORMATS: Final[dict[int, str]] = {
    pb2.OUTPUT_FORMAT_UNSPECIFIED: "parquet",
    pb2.OUTPUT_FORMAT_PARQUET: "parquet",
    pb2.OUTPUT_FORMAT_JSONL: "jsonl",
    pb2.OUTPUT_FORMAT_NPY: "npy",
}
OPTIONS: Final = frozenset({"version", "prompt_name", "normalize", "dimensions", "precision", "truncation"})
"""The fields of a spec that are `spec.options` in the protos."""


def job_spec(message: pb2.JobSpec) -> JobSpec:
    """The spec of a request.

    Raises:
        InvalidJob, InvalidRequest: something in it is wrong; the field is a path in the request.
    """
    for name in ("input", "output"):
        path = getattr(message, name)
        if path and not is_absolute(path):
            msg = f"{name}: give an absolute path or a URL, not {path[:200]!r}: the workers may run elsewhere"
            raise InvalidJob(msg, field=f"spec.{name}")
    output_format = FORMATS.get(message.format)
    if output_format is None:
        msg = f"unknown format {message.format}; take OUTPUT_FORMAT_PARQUET (1), _JSONL (2) or _NPY (3)"
        raise InvalidJob(msg, field="spec.format")
    try:
        wanted = output_options(message.options)
    except UnsupportedPrecision as error:
        error.field = "spec.options.precision"
        raise
    fields: dict[str, Any] = {
        "input": message.input,
        "output": message.output,
        "version": message.options.version,
        "prompt_name": message.options.prompt_name,
        "normalize": wanted.normalize,
        "dimensions": wanted.dimensions,
        "precision": wanted.precision,
        "truncation": "end" if cuts(message.options.truncation, "spec.options.truncation") else "none",
        "text_column": message.text_column or "text",
        "id_column": message.id_column,
        "carry_columns": list(message.carry_columns),
        "format": output_format,
        "input_format": message.input_format or "auto",
        "encoding": message.encoding or "utf-8",
        "quoting": message.quoting or "auto",
        "shard_rows": message.shard_rows,
        "max_error_rate": message.max_error_rate if message.HasField("max_error_rate") else None,
    }
    try:
        return JobSpec.of_call((), fields)
    except InvalidJob as error:
        error.field = f"spec.options.{error.field}" if error.field in OPTIONS else f"spec.{error.field}"
        raise
