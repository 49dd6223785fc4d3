import io
import os
import sys
import unicodedata

import pytest
import typer

from munjang.cli.texts import read_texts
from munjang.errors import ConfigurationError, EmptyText, InvalidRequest, InvalidText, NoTexts, TextTooLong


@pytest.fixture
def corpus(tmp_path):
    def write(data):
        path = tmp_path / "말뭉치.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


def test_each_line_is_a_text(corpus):
    path = corpus("첫째 줄\r\n둘째 줄\n 셋째\t줄")
    assert read_texts(None, path).items == ["첫째 줄", "둘째 줄", " 셋째\t줄"]


def test_a_byte_order_mark_is_no_text_and_other_separators_end_no_line(corpus):
    assert read_texts(None, corpus("\ufeff가\u2028나\x0b다\n라")).items == ["가\u2028나\x0b다", "라"]


def test_standard_input_is_a_file_too(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("하나\n둘\n".encode())))
    assert read_texts(None, "-").items == ["하나", "둘"]


def test_an_empty_line_is_named(corpus):
    path = corpus("하나\n\n셋\n")
    with pytest.raises(EmptyText, match=rf"line 2 of {path} is empty"):
        read_texts(None, path)


def test_a_line_that_is_not_utf8_is_named(corpus):
    with pytest.raises(InvalidText, match=r"line 2 of .* is not UTF-8: byte 4"):
        read_texts(None, corpus("하나\n".encode() + "둘".encode() + "셋".encode("cp949")))


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_file_is_read_in_the_encoding_that_is_named(corpus, encoding):
    path = corpus("비가 온다.\r\n둘\n".encode(encoding))
    assert read_texts(None, path, encoding).items == ["비가 온다.", "둘"]


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_another_encoding_says_which_to_name(corpus, encoding):
    path = corpus("비가 온다.\n둘\n".encode(encoding))
    with pytest.raises(InvalidText, match=f"it looks like {encoding}: add --encoding {encoding}"):
        read_texts(None, path)


def test_an_encoding_that_there_is_not_is_refused(corpus):
    with pytest.raises(typer.BadParameter, match="is not an encoding of texts"):
        read_texts(None, corpus("글\n"), "cp9949")


def test_a_file_s_name_may_be_in_another_normal_form_or_encoding(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "말뭉치.txt")).write_text("글\n", encoding="utf-8")
    assert read_texts(None, unicodedata.normalize("NFC", str(tmp_path / "말뭉치.txt"))).items == ["글"]
    path = tmp_path / os.fsdecode("말뭉치.txt".encode("cp949"))
    path.write_text("글\n\n", encoding="utf-8")
    with pytest.raises(EmptyText, match="line 2 of ") as caught:
        read_texts(None, str(path))
    assert str(caught.value).encode()


def test_an_empty_file_and_one_that_is_not_there_are_refused(corpus, tmp_path):
    with pytest.raises(NoTexts, match="is empty"):
        read_texts(None, corpus(""))
    with pytest.raises(ConfigurationError, match="No such file"):
        read_texts(None, str(tmp_path / "없는파일"))


@pytest.mark.parametrize(("texts", "file"), [(["글"], "-"), (None, ""), ([], "")])
def test_texts_or_a_file_but_not_both(texts, file):
    with pytest.raises(typer.BadParameter):
        read_texts(texts, file)


def test_an_argument_that_is_no_text_is_named():
    with pytest.raises(EmptyText, match="text 2 is empty"):
        read_texts(["글", "  "], "")
    with pytest.raises(InvalidText, match="text 1 is not UTF-8"):
        read_texts(["\udcff"], "")


def test_an_error_about_one_text_names_its_line(corpus):
    texts = read_texts(None, corpus("하나\n둘\n셋"))
    with pytest.raises(InvalidRequest, match=r"line 3 of .*말뭉치.txt: too long"), texts.named_errors(start=1):
        raise TextTooLong("too long", field="texts", index=1)
    with pytest.raises(ConfigurationError, match=r"^other$"), texts.named_errors():
        raise ConfigurationError("other")
