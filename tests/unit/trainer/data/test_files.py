"""Reading data files: quoting, encodings, and what is said of a file that is in another encoding."""

from __future__ import annotations

import pytest

from munjang.errors import ConfigurationError
from munjang_trainer.data.files import RowCounts, read_lines, read_records, read_table
from munjang_trainer.data.sources import load_source
from munjang_trainer.recipe.load import parse
from munjang_trainer.recipe.schema import DataConfig, StsSource

COLUMNS = ("question1", "question2")
STS = "score\tsentence1\tsentence2\n5\t비가 온다.\t비가 내린다.\n"


def table(path, **options):
    counts = RowCounts()
    return list(read_table(str(path), COLUMNS, counts, **options)), counts


def test_line_breaks_in_quoted_fields_of_csv_stay(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('question1,question2\n"첫 줄\n둘째 줄","단락\n\n다음 단락"\n', encoding="utf-8")
    assert table(path)[0] == [("첫 줄\n둘째 줄", "단락\n\n다음 단락")]


def test_a_quote_out_of_place_costs_its_own_row_and_is_counted(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('question1,question2\n"offen,하나\n둘,셋\n넷\n', encoding="utf-8")
    rows, counts = table(path)
    assert rows == [("둘", "셋")]
    assert (counts.read, counts.dropped) == (
        3,
        {"a quote or line end out of place": 1, "wrong number of columns": 1},
    )


def test_white_space_around_the_names_of_columns_does_not_count(tmp_path):
    (tmp_path / "pairs.csv").write_text("question1, question2\n가,나\n", encoding="utf-8")
    assert table(tmp_path / "pairs.csv")[0] == [("가", "나")]


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("question1,question2,question1\n가,나,다\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="more than one column 'question1'"):
        table(tmp_path / "pairs.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_a_source_says_the_encoding_of_its_files(tmp_path, encoding):
    (tmp_path / "sts.tsv").write_text(STS, encoding=encoding)
    source = StsSource(kind="sts", files=("sts.tsv",), encoding=encoding)
    assert load_source(source, str(tmp_path), 42).train.rows == [("비가 온다.", "비가 내린다.", 1.0)]


def test_json_may_have_an_encoding_too(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": "가"}]', encoding="cp949")
    assert list(read_records(str(tmp_path / "a.json"), "cp949")) == [{"a": "가"}]


@pytest.mark.parametrize(
    ("written", "read", "likely"),
    [
        ("cp949", "utf-8", "cp949"),
        ("utf-16", "utf-8", "utf-16"),
        ("utf-16-le", "utf-8", "utf-16-le"),
        ("utf-8", "ascii", "utf-8"),
        ("utf-8", "utf-16", "utf-8"),
    ],
)
def test_a_file_in_another_encoding_says_what_it_looks_like_and_what_to_write(tmp_path, written, read, likely):
    path = tmp_path / "t.txt"
    path.write_text("abc 비가 온다.\n" * 2000, encoding=written)
    with pytest.raises(
        ConfigurationError, match=f"cannot be read as {read} .*looks like {likely}: write `encoding: {likely}`"
    ):
        list(read_lines(str(path), read))


def test_a_file_that_is_in_no_known_encoding_says_so(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"abc \xff\xff\xff \x80\n")
    with pytest.raises(ConfigurationError, match="damaged, or in an encoding that is not known here"):
        list(read_lines(str(tmp_path / "t.txt")))


@pytest.mark.parametrize("encoding", ["cp9949", "hex", ""])
def test_a_recipe_with_an_encoding_that_there_is_not_is_refused(encoding):
    source = {"kind": "sts", "files": ["sts.tsv"], "encoding": encoding}
    with pytest.raises(ConfigurationError, match="is not an encoding of texts: write one such as"):
        parse(DataConfig, {"sources": {"a": source}}, "the recipe")
