"""Every Arrow type as id and as carried column: refused by name and type when planned, or a bad value costs its row."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from munjang.errors import InvalidJob
from tools.job_types_docs import FORMATS, PAGE, TYPES, outcome, page

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = [kind for kinds in TYPES.values() for kind in kinds]
BOUNDARIES = [
    0,
    1,
    -1,
    86_399,
    86_400,
    999,
    1 << 31,
    1 << 53,
    (1 << 53) + 1,
    (1 << 63) - 1,
    -(1 << 63),
    253_402_300_800,
]
NESTED = [
    pa.list_(pa.timestamp("ns", "Asia/Seoul")),
    pa.struct([("at", pa.duration("ns")), ("tags", pa.list_(pa.string()))]),
    pa.map_(pa.string(), pa.time64("ns")),
    pa.large_list(pa.list_view(pa.large_string())),
    pa.dictionary(pa.int8(), pa.date32()),
    pa.list_(pa.list_(pa.timestamp("s")), 1),
]


def raw_array(kind: pa.DataType, numbers: list[int]) -> pa.Array:  # noqa: C901, PLR0911 - a case for each layout
    """Values of a type from any bits at all, as writers in other languages leave them."""
    count = len(numbers)
    if kind == pa.json_():  # pyarrow itself refuses to read others than UTF-8
        return pa.array([str(number) for number in numbers], pa.string()).cast(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, raw_array(kind.storage_type, numbers))
    if pa.types.is_null(kind):
        return pa.nulls(count)
    if pa.types.is_dictionary(kind):
        values = raw_array(kind.value_type, numbers)
        return pa.DictionaryArray.from_arrays(pa.array(range(count), kind.index_type), values)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(raw_array(kind.value_type, numbers * kind.list_size), type=kind)
    if pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        return pa.StructArray.from_arrays([raw_array(field.type, numbers) for field in fields], fields=fields)
    if pa.types.is_map(kind):
        keys, items = raw_array(kind.key_type, numbers), raw_array(kind.item_type, numbers)
        return pa.MapArray.from_arrays(pa.array(range(count + 1), pa.int32()), keys, items)
    if kind.num_fields == 1:
        lists = pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), raw_array(kind.value_type, numbers))
        return lists.cast(kind)
    packed = struct.pack(f"<{count * 4}q", *[number for number in numbers for _ in range(4)])
    if pa.types.is_boolean(kind):
        return pa.array([number % 2 == 0 for number in numbers])
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        offsets = pa.py_buffer(struct.pack(f"<{count + 1}i", *range(0, 32 * (count + 1), 32)))
        return pa.Array.from_buffers(kind, count, [None, offsets, pa.py_buffer(packed)])
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_binary(kind):
        return pa.array([str(number) for number in numbers]).cast(kind)
    if kind == pa.binary_view():
        return pa.array([str(number).encode() for number in numbers], kind)
    width = kind.bit_width // 8
    data = b"".join(packed[32 * index : 32 * index + width] for index in range(count))
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(data)])


def write(path: Path, kind: pa.DataType, numbers: list[int]) -> bool:
    """Write a Parquet file with a column of a type; whether that can be."""
    try:
        column = raw_array(kind, numbers)
        pq.write_table(pa.table({"key": column, "text": ["글"] * len(numbers)}), path)
    except (pa.ArrowException, NotImplementedError, TypeError, ValueError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS + NESTED, ids=str)
@settings(
    max_examples=2,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(numbers=st.lists(st.sampled_from(BOUNDARIES) | st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=6))
def test_any_bits_of_any_type_cost_their_rows_and_never_the_job(
    run: Callable[..., Any], kind: pa.DataType, output_format: str, numbers: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.parquet"
        if not write(path, kind, numbers):
            return
        found = pq.read_schema(path).field("key").type  # Parquet may have stored another
        for role in ("id_column", "carry_columns"):
            arguments = {role: "key", "format": output_format, "output": f"{folder}/{role}"}
            if outcome(found, output_format, is_id=role == "id_column") == "refused":
                with pytest.raises(InvalidJob, match=r"'key' of .* holds") as caught:
                    run(path, **arguments)
                assert caught.value.field == role
                continue
            manifest = run(path, **arguments)
            assert manifest["rows_encoded"] + manifest["rows_failed"] == len(numbers)
            lines = (Path(folder) / role / "errors.jsonl").read_text(encoding="utf-8").splitlines()
            errors = [json.loads(line) for line in lines]
            assert {(error["reason"], "'key' holds" in error["message"]) for error in errors} <= {
                ("MALFORMED_ROW", True)
            }


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us"), pa.date32(), pa.duration("ms"), pa.timestamp("ns"), pa.time64("ns")]
)
def test_a_time_beyond_json_costs_its_row_and_parquet_keeps_it(
    tmp_path: Path, run: Callable[..., Any], kind: pa.DataType
) -> None:
    write(tmp_path / "in.parquet", kind, [1000, (1 << 31) - 1 if kind == pa.date32() else (1 << 63) - 1])
    kept = run(tmp_path / "in.parquet", carry_columns="key", output=str(tmp_path / "a"))["rows_encoded"]
    assert kept == (1 if kind == pa.time64("ns") else 2)
    if kind not in {pa.timestamp("ns"), pa.time64("ns")}:
        manifest = run(tmp_path / "in.parquet", carry_columns="key", output=str(tmp_path / "b"), format="jsonl")
        assert (manifest["rows_encoded"], manifest["rows_failed"]) == (1, 1)


def test_nanoseconds_are_kept_in_json(tmp_path: Path, run: Callable[..., Any], output: str) -> None:
    at = 1_700_000_000_123_456_789
    table = pa.table({
        "text": ["글"],
        "at": pa.array([at], pa.timestamp("ns", "Asia/Seoul")),
        "times": pa.array([[at % 86_400_000_000_000]], pa.list_(pa.time64("ns"))),
        "took": pa.array([1001], pa.duration("ns")),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", carry_columns="at,times,took", format="jsonl")
    row = json.loads((Path(output) / "part-00000.jsonl").read_text(encoding="utf-8"))
    assert row["at"] == "2023-11-15T07:13:20.123456789+09:00"
    assert row["times"] == ["22:13:20.123456789"]
    assert row["took"] == "0:00:00.000001001"


@pytest.mark.parametrize(
    ("first", "second", "united"),
    [
        (pa.null(), pa.struct([("a", pa.int8())]), pa.struct([("a", pa.int8())])),
        (pa.int64(), pa.null(), pa.int64()),
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.timestamp("us"), pa.timestamp("ms"), pa.timestamp("us")),
        (pa.large_string(), pa.string(), pa.string()),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.string(), pa.int64(), None),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
        (pa.bool_(), pa.int8(), None),
    ],
    ids=str,
)
def test_columns_of_several_files_unite_or_are_named(
    tmp_path: Path, run: Callable[..., Any], output: str, first: pa.DataType, second: pa.DataType, united: Any
) -> None:
    for name, kind in (("a", first), ("b", second)):
        pq.write_table(pa.table({"id": [1], "text": ["글"], "key": pa.nulls(1, kind)}), tmp_path / f"{name}.parquet")
    if united is None:
        with pytest.raises(InvalidJob, match=r"'key' holds .* in '.*a\.parquet' and .* in '.*b\.parquet'"):
            run(tmp_path / "*.parquet", carry_columns="key")
    else:
        run(tmp_path / "*.parquet", carry_columns="key")
        assert pq.read_schema(Path(output) / "part-00000.parquet").field("key").type == united


def test_a_file_without_the_ids_that_another_has_is_named(tmp_path: Path, run: Callable[..., Any]) -> None:
    pq.write_table(pa.table({"id": [1], "text": ["글"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["글"]}), tmp_path / "b.parquet")
    with pytest.raises(InvalidJob, match=r"'.*b\.parquet' has no column 'id'"):
        run(tmp_path / "*.parquet")


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_column_without_a_name_is_a_column_as_any_other(
    tmp_path: Path, run: Callable[..., Any], name: str, output_format: str
) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"": [0, 1], "text": ["하나", "둘"]}), path)
    elif path.suffix == ".jsonl":
        path.write_text('{"": 0, "text": "하나"}\n{"": 1, "text": "둘"}\n', encoding="utf-8")
    else:
        path.write_text(",text\n0,하나\n1,둘\n".replace(",", "," if name == "in.csv" else "\t"), encoding="utf-8")
    for carried in ([], [""]):
        out = tmp_path / f"out{len(carried)}"
        assert run(path, carry_columns=carried, format=output_format, output=str(out))["rows_encoded"] == 2


HUGE = [
    "9007199254740993",
    "1" + "0" * 400,
    "-9223372036854775809",
    '"' + "가" * 500 + '"',
    "[" * 300 + "]" * 300,
    '"\\ud800"',
]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("usual", ["1.5", "1", "true", '"하나"', "null", "[1]", '{"a": null}', "NaN", "1e308"])
def test_values_of_json_that_do_not_fit_cost_their_rows(
    tmp_path: Path, run: Callable[..., Any], errors_of: Callable[[], Any], usual: str, output_format: str
) -> None:
    rows = [usual] * 1024 + HUGE
    text = "".join(f'{{"text": "글", "key": {value}}}\n' for value in rows)
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
    manifest = run(tmp_path / "in.jsonl", carry_columns="key", format=output_format)
    assert manifest["rows_encoded"] >= 1024
    assert all(error["reason"] == "MALFORMED_ROW" and len(error["message"]) < 500 for error in errors_of())


def test_a_whole_number_in_a_column_of_fractions_is_kept_where_it_can_be(
    tmp_path: Path, run: Callable[..., Any], rows_of: Callable[[], Any], errors_of: Callable[[], Any]
) -> None:
    values = ["1.5", "9007199254740993", "3", "100000000000000000000"]
    text = "".join(f'{{"text": "글", "key": {value}}}\n' for value in values)
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
    run(tmp_path / "in.jsonl", carry_columns="key")
    assert [row["key"] for row in rows_of()] == [1.5, 3.0, 1e20]
    assert [error["row"] for error in errors_of()] == [1]


def test_the_page_has_the_table_that_the_code_gives() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text
