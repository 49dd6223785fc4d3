"""Writes the table of column types into docs/jobs.md, by the rules that a job is planned by (`make docs`).

`--check` only says whether it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pyarrow as pa

from munjang.bulk.job import JobSpec
from munjang_worker.column_types import UnsupportedType, json_form, output_type, plain_type
from tools.generated_page import with_table, write_or_check

PAGE = Path(__file__).resolve().parent.parent / "docs" / "jobs.md"
BEGIN = "<!-- Written by `make docs` from munjang_worker/column_types.py. -->\n"
END = "<!-- end of what `make docs` writes -->\n"

FORMATS: tuple[str, ...] = get_args(JobSpec.model_fields["format"].annotation)

TYPES: dict[str, list[pa.DataType]] = {
    "null": [pa.null()],
    "bool": [pa.bool_()],
    "int8 to int64, uint8 to uint64": [pa.int8(), pa.int64(), pa.uint8(), pa.uint64()],
    "float16, float32, float64": [pa.float16(), pa.float32(), pa.float64()],
    "decimal32 to decimal256": [pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(20, 2), pa.decimal256(60, 2)],
    "string": [pa.string()],
    "large_string, string_view": [pa.large_string(), pa.string_view()],
    "binary, fixed_size_binary": [pa.binary(), pa.binary(4)],
    "large_binary, binary_view": [pa.large_binary(), pa.binary_view()],
    "date32": [pa.date32()],
    "date64": [pa.date64()],
    "time32[s]": [pa.time32("s")],
    "time32[ms], time64": [pa.time32("ms"), pa.time64("us"), pa.time64("ns")],
    "timestamp[s]": [pa.timestamp("s")],
    "timestamp[ms], [us], [ns]": [pa.timestamp("ms"), pa.timestamp("us", "Asia/Seoul"), pa.timestamp("ns")],
    "timestamp with an unknown time zone": [pa.timestamp("us", "Mars/Olympus")],
    "duration": [pa.duration("s"), pa.duration("ns")],
    "month_day_nano_interval": [pa.month_day_nano_interval()],
    "list, fixed_size_list": [pa.list_(pa.int8()), pa.list_(pa.float32(), 3)],
    "large_list, list_view, large_list_view": [
        pa.large_list(pa.int8()),
        pa.list_view(pa.int8()),
        pa.large_list_view(pa.int8()),
    ],
    "struct": [pa.struct([("name", pa.string())])],
    "struct without fields": [pa.struct([])],
    "struct with two fields of one name": [pa.struct([("name", pa.string()), ("name", pa.string())])],
    "map": [pa.map_(pa.string(), pa.int8())],
    "dictionary": [pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.int64())],
    "run_end_encoded": [pa.run_end_encoded(pa.int32(), pa.string())],
    "dense_union, sparse_union": [
        pa.dense_union([pa.field("number", pa.int8())]),
        pa.sparse_union([pa.field("number", pa.int8())]),
    ],
    "extension: uuid": [pa.uuid()],
    "extension: json": [pa.json_()],
    "extension: bool8": [pa.bool8()],
    "extension: fixed_shape_tensor": [pa.fixed_shape_tensor(pa.float32(), (2, 2))],
    "extension: others": [pa.opaque(pa.int8(), "type", "vendor")],
}
"""The types of Arrow by the names of the table's rows."""


def outcome(kind: pa.DataType, output_format: str, *, is_id: bool) -> str:
    """What becomes of an id or carried column of a type: kept, converted to something, or refused."""
    plain = plain_type(kind)
    try:
        stored = output_type(plain, output_format, is_id=is_id)
    except UnsupportedType:
        return "refused"
    if output_format != "parquet":
        form = json_form(stored)
        return f"converted: {form}" if form else "kept"
    if stored == kind:
        return "kept"
    return "converted: its values" if pa.types.is_dictionary(kind) else f"converted: {str(stored).partition('<')[0]}"


def table() -> list[str]:
    """The lines of the table."""
    columns = [(role, name) for name in FORMATS for role in ("id", "carried")]
    lines = ["| Arrow type | " + " | ".join(f"`{name}`, {role}" for role, name in columns) + " |"]
    lines.append("| --- " * (len(columns) + 1) + "|")
    for label, kinds in TYPES.items():
        cells = [
            ", ".join(dict.fromkeys(outcome(kind, name, is_id=role == "id") for kind in kinds))
            for role, name in columns
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def page(text: str) -> str:
    """The page with the table as it should be."""
    return with_table(text, BEGIN, END, table())


def main() -> int:
    """Write the table, or with `--check` return 1 where it is not current."""
    text = page(PAGE.read_text(encoding="utf-8"))
    return write_or_check(PAGE, text, "docs/jobs.md has another table of types than the worker's code")


if __name__ == "__main__":
    sys.exit(main())
