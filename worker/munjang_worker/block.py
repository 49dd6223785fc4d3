"""Rows as every input format yields them, the columns that a job reads, and the types of the output's columns."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from munjang.errors import InvalidJob
from munjang_worker.column_types import UnsupportedType, output_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from munjang.bulk.job import JobSpec

SAMPLE = 1024
"""How many records at the start of a JSONL input decide its columns' types."""

ROW_NUMBER = pa.int64()

SHOWN_CHARS = 200
"""The most characters of a value in a message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row has no vector: a reason for programs, a message for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns a job reads.

    Attributes:
        text: where the texts are.
        id: where the ids are; None numbers the rows. A column's name may be "", as that of pandas' index is.
        schema: the output's columns before the vector: "id", then the carried ones by their own names.
    """

    text: str
    id: str | None
    schema: pa.Schema

    @property
    def carried(self) -> list[str]:
        """The columns to copy to the output."""
        return list(self.schema.names[1:])


@dataclass(slots=True, kw_only=True)
class Rows:
    """Consecutive rows of the input, at whatever stage they are.

    Attributes:
        first: the first row's number in the whole input.
        table: id and carried columns of all rows, bad ones included.
        problems: why rows cannot be encoded, by position.
    """

    first: int
    table: pa.Table
    problems: dict[int, Problem]

    def __len__(self) -> int:
        """The number of rows, bad ones included."""
        return len(self.table)


@dataclass(slots=True, kw_only=True)
class Block(Rows):
    """Rows as they were read; `texts` holds what the text column holds, a string where the row is good."""

    texts: list[object]


def choose_columns(names: Sequence[str], types: Mapping[str, pa.DataType], spec: JobSpec, url: str) -> Columns:
    """The columns that a job means, among those that a file has.

    Raises:
        InvalidJob: one is not there, or is there twice.
    """
    _require(names, spec.text_column, "text_column", url)
    if spec.id_column:
        _require(names, spec.id_column, "id_column", url)
    for name in spec.carry_columns:
        _require(names, name, "carry_columns", url)
    id_column = spec.id_column or ("id" if "id" in names else None)
    fields = [pa.field("id", ROW_NUMBER if id_column is None else types.get(id_column, pa.string()))]
    fields += [pa.field(name, types.get(name, pa.string())) for name in spec.carry_columns]
    return Columns(spec.text_column, id_column, pa.schema(fields))


def infer_types(records: Sequence[Mapping[str, object]]) -> dict[str, pa.DataType]:
    """The Arrow type of each column of JSON records: int64, float64 or bool where all values are, else string."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _infer([value for record in records if (value := record.get(name)) is not None]) for name in names}


def output_columns(columns: Columns, spec: JobSpec, url: str) -> Columns:
    """Columns with the output's types.

    Raises:
        InvalidJob: the output cannot hold one.
    """
    fields: list[pa.Field] = []
    for field in columns.schema:
        try:
            fields.append(field.with_type(output_type(field.type, spec.format, is_id=not fields)))
        except UnsupportedType as error:
            option, name = ("carry_columns", field.name) if fields else ("id_column", columns.id)
            msg = f"{option}: {name!r} of {url!r} holds {field.type}, which {spec.format} cannot hold: {error}"
            raise InvalidJob(msg, field=option) from error
    return replace(columns, schema=pa.schema(fields))


def unite_columns(columns: Columns, other: Columns, url: str, other_url: str) -> Columns:
    """The columns of two files as one: nulls unite with every type, and numbers and times in the wider type.

    Raises:
        InvalidJob: only one file has ids, or a column's two types have none that holds both.
    """
    if columns.id != other.id:
        has, lacks = (url, other_url) if other.id is None else (other_url, url)
        msg = f"input: {lacks!r} has no column {columns.id or other.id!r} for the ids, and {has!r} has one"
        raise InvalidJob(msg, field="input")
    fields: list[pa.Field] = []
    for one, two in zip(columns.schema, other.schema, strict=True):
        try:
            united = pa.unify_schemas([pa.schema([one]), pa.schema([two])], promote_options="permissive").field(0)
            for field in (one, two):
                pa.chunked_array([], field.type).cast(united.type)
        except pa.ArrowException as error:
            name = one.name if fields else columns.id
            msg = f"input: {name!r} holds {one.type} in {url!r} and {two.type} in {other_url!r}: give each its own job"
            raise InvalidJob(msg, field="input") from error
        fields.append(united)
    return replace(columns, schema=pa.schema(fields))


def is_valid_text(text: str) -> bool:
    """Whether a text can be written to a file; one with unpaired surrogates cannot."""
    try:
        return text.isascii() or text.encode() is not None
    except UnicodeEncodeError:
        return False


def make_block(first: int, records: Sequence[Mapping[str, object] | Problem], columns: Columns) -> Block:
    """A block of records; those with values that do not fit their column become problems."""
    problems: dict[int, Problem] = {}
    texts: list[object] = []
    values: list[list[object]] = [[] for _ in columns.schema]
    for position, record in enumerate(records):
        row: list[object] = [None] * len(values)
        problem = record if isinstance(record, Problem) else _fill(row, record, columns)
        if problem:
            problems[position] = problem
        texts.append(None if isinstance(record, Problem) else record.get(columns.text))
        for column, value in zip(values, row, strict=True):
            column.append(value)
    if columns.id is None:
        values[0] = list(range(first, first + len(texts)))
    arrays = [pa.array(column, field.type) for column, field in zip(values, columns.schema, strict=True)]
    return Block(first=first, table=pa.Table.from_arrays(arrays, schema=columns.schema), problems=problems, texts=texts)


def _fill(row: list[object], record: Mapping[str, object], columns: Columns) -> Problem | None:
    for index, column in enumerate(columns.schema):
        name = column.name if index else columns.id
        if name is None:  # the rows are numbered
            continue
        value = record.get(name)
        if index == 0 and value is None:
            return Problem("MISSING_ID", f"the row has no {name!r}")
        try:
            row[index] = None if value is None else _convert(value, column.type)
        except (ValueError, ArithmeticError, RecursionError):
            return Problem("MALFORMED_ROW", f"{name!r} holds {_shown(value)}, which is no value of type {column.type}")
    return None


def _convert(value: object, kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if not is_valid_text(text):
            raise ValueError
        return text
    allowed = {pa.int64(): (int,), pa.float64(): (int, float), pa.bool_(): (bool,)}[kind]
    if type(value) not in allowed:
        raise ValueError
    if pa.types.is_floating(kind) and isinstance(value, int):
        if float(value) != value:  # it would become another number
            raise ValueError
        return float(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError
    return value


def _shown(value: object) -> str:
    """The beginning of a value, for a message."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} of many levels"
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _infer(values: list[object]) -> pa.DataType:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in values if isinstance(value, int)):
        return pa.int64()
    if kinds in ({float}, {int, float}):
        return pa.float64()
    return pa.string()


def _require(names: Sequence[str], name: str, field: str, url: str) -> None:
    if name not in names:
        msg = f"{field}: {url!r} has no column {name!r}; it has {', '.join(map(repr, names)) or 'none'}"
        raise InvalidJob(msg, field=field)
    if list(names).count(name) > 1:
        msg = f"{field}: {url!r} has more than one column {name!r}"
        raise InvalidJob(msg, field=field)
