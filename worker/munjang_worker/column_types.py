"""Arrow types of ids and carried columns: what each output format makes of them, and how values are converted.

Each output format has few types of its own. A type that it cannot hold is refused when the job is planned. A single
value that it cannot hold makes its row bad.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

NANOSECONDS = 1000
"""Of a microsecond."""

_NO_VALUE = (ValueError, ArithmeticError, LookupError, pa.ArrowException)
"""What pyarrow raises where a value does not fit a type of Arrow or of Python."""


class UnsupportedType(Exception):
    """An output cannot hold a type; the message says why."""


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without what only says how it is stored: dictionaries, views and large offsets, also nested."""
    if kinds.is_dictionary(kind):
        return plain_type(kind.value_type)
    if kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return pa.string()
    if kinds.is_large_binary(kind) or kinds.is_binary_view(kind):
        return pa.binary()
    if kinds.is_large_list(kind) or kinds.is_list_view(kind) or kinds.is_large_list_view(kind):
        kind = pa.list_(kind.value_field)
    return _map_children(kind, plain_type)


def output_type(kind: pa.DataType, output_format: str, *, is_id: bool) -> pa.DataType:
    """The type that an output has for a column of a plain type.

    Args:
        kind: see `plain_type`.
        output_format: "parquet", "jsonl" or "npy"; the latter two hold ids and carried columns as JSON.
        is_id: whether every row needs a value.

    Raises:
        UnsupportedType: it has none.
    """
    if is_id and kinds.is_null(kind):
        msg = "all its values are null"
        raise UnsupportedType(msg)
    if output_format != "parquet":
        _require_json(kind)
        return kind
    try:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.schema([("column", kind)]).empty_table(), sink)
        stored = pq.read_schema(pa.BufferReader(sink.getvalue())).field("column").type
        pa.chunked_array([], kind).cast(stored)
    except pa.ArrowException as error:
        raise UnsupportedType(str(error)) from error
    return stored


def convert(
    column: pa.ChunkedArray, kind: pa.DataType, *, as_json: bool
) -> tuple[pa.ChunkedArray, dict[int, Exception]]:
    """A column in the output's type.

    Args:
        column: as a file holds it.
        kind: the output's type, to which Arrow can cast the column's.
        as_json: whether its values also have to have a form in JSON.

    Returns:
        The column, null where a value does not fit; why those do not fit, by position.
    """
    try:
        return _checked(column, kind, as_json=as_json), {}
    except _NO_VALUE:
        pass
    failures: dict[int, Exception] = {}
    values: list[pa.Array] = []
    for position in range(len(column)):
        try:
            values.append(_checked(column.slice(position, 1), kind, as_json=as_json).combine_chunks())
        except _NO_VALUE as error:
            failures[position] = error
            values.append(pa.nulls(1, kind))
    return pa.chunked_array(values, kind), failures


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """A column's values for `json.dumps`; nanoseconds that Python's times lack are kept, as text.

    Raises:
        ValueError, ArithmeticError, LookupError, pa.ArrowException: a value is beyond Python's dates and times.
    """
    kind = _in_microseconds(column.type)
    try:
        return list((column if kind == column.type else column.cast(kind)).to_pylist())
    except pa.ArrowInvalid:
        return [_json_value(value) for value in column]


def json_value(column: pa.ChunkedArray, position: int) -> Any:
    """One value for `json.dumps`; None where it has no such form."""
    try:
        return json_values(column.slice(position, 1))[0]
    except _NO_VALUE:
        return None


def json_form(kind: pa.DataType) -> str:
    """What JSON makes of a plain type, in words; "" where it has the type itself."""
    if kinds.is_map(kind):
        return "a list of pairs"
    children = [kind.field(index).type for index in range(kind.num_fields)]
    if children:
        return next(filter(None, map(json_form, children)), "")
    if isinstance(kind, pa.BaseExtensionType):
        return (
            ""
            if isinstance(kind, pa.JsonType | pa.Bool8Type)
            else "text"
            if isinstance(kind, pa.UuidType)
            else json_form(kind.storage_type)
        )
    if kinds.is_temporal(kind):
        return "a list of three numbers" if kinds.is_interval(kind) else "text"
    if kinds.is_decimal(kind):
        return "text"
    return "base64" if kinds.is_binary(kind) or kinds.is_fixed_size_binary(kind) else ""


def _map_children(kind: pa.DataType, change: Any) -> pa.DataType:
    """A nested type with other types inside."""

    def changed(field: pa.Field) -> pa.Field:
        return field.with_type(change(field.type))

    if kinds.is_list(kind):
        return pa.list_(changed(kind.value_field))
    if kinds.is_fixed_size_list(kind):
        return pa.list_(changed(kind.value_field), kind.list_size)
    if kinds.is_struct(kind):
        return pa.struct([changed(kind.field(index)) for index in range(kind.num_fields)])
    if kinds.is_map(kind):
        return pa.map_(changed(kind.key_field), changed(kind.item_field))
    return kind


def _require_json(kind: pa.DataType) -> None:
    children = [kind.field(index) for index in range(kind.num_fields)]
    names = [child.name for child in children]
    if kinds.is_struct(kind) and len(set(names)) < len(names):
        msg = "JSON has no objects with two fields of one name"
        raise UnsupportedType(msg)
    if kinds.is_run_end_encoded(kind) or kinds.is_union(kind):
        msg = "such columns are not read"
        raise UnsupportedType(msg)
    if kinds.is_timestamp(kind) and kind.tz is not None:
        try:
            pa.lib.string_to_tzinfo(kind.tz)
        except _NO_VALUE as error:
            msg = f"there is no time zone {kind.tz!r}"
            raise UnsupportedType(msg) from error
    for child in children:
        _require_json(child.type)


def _checked(column: pa.ChunkedArray, kind: pa.DataType, *, as_json: bool) -> pa.ChunkedArray:
    found = column if column.type == kind else column.cast(kind)
    if len(found) == 1:
        found = found.take(pa.array([0]))  # without its neighbours, which a slice would have validated with it
    found.validate(full=True)
    if as_json and _is_beyond_python(kind):
        json_values(found)
    return found


def _is_beyond_python(kind: pa.DataType) -> bool:
    """Whether a type holds values that Python's types do not."""
    children = [kind.field(index).type for index in range(kind.num_fields)]
    return kinds.is_temporal(kind) or isinstance(kind, pa.BaseExtensionType) or any(map(_is_beyond_python, children))


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    if kinds.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if kinds.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if kinds.is_time64(kind):
        return pa.time64("us")
    return _map_children(kind, _in_microseconds)


def _json_value(value: pa.Scalar) -> Any:
    kind = value.type
    if not value.is_valid:
        return None
    if kinds.is_struct(kind):
        return {kind.field(index).name: _json_value(value[index]) for index in range(kind.num_fields)}
    if kinds.is_map(kind):
        return [list(_json_value(entry).values()) for entry in value.values]
    if kinds.is_nested(kind):
        return [_json_value(item) for item in value.values]
    return value.as_py() if _in_microseconds(kind) == kind else _nanoseconds(value)


def _nanoseconds(value: pa.Scalar) -> str:
    """A time or duration in nanoseconds as text, which Python's own types cut to microseconds."""
    whole, rest = divmod(value.value, NANOSECONDS)
    found = pa.scalar(whole, _in_microseconds(value.type)).as_py()
    if kinds.is_duration(value.type):
        text = str(found)
        return f"{text}{'' if '.' in text else '.000000'}{rest:03d}"
    text = found.isoformat(timespec="microseconds")
    end = text.index(".") + len(".000000")
    return f"{text[:end]}{rest:03d}{text[end:]}"
