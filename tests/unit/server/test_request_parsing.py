"""Bytes into messages: what is wrong with them is found and named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import InvalidText, MalformedMessage, MessageTooLarge, TooManyTexts, UnknownPrompt
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import job_service_pb2
from munjang_server.rpc.request_parsing import Parser, PromptRequest, fields_exceed

PARSER = Parser(pb2.EncodeRequest, 10_000)


def broken(message, text):
    """The message with the bytes of a text replaced by as many that are not UTF-8."""
    return message.SerializeToString().replace(text.encode(), b"\xff" * len(text.encode()))


def test_a_good_message_is_read():
    message = pb2.EncodeRequest(texts=["가", "나"], options={"version": "3"})
    assert PARSER.parse(message.SerializeToString()) == message


@pytest.mark.parametrize("size", [10_001, 1_000_000])
def test_a_message_over_the_limit_is_not_read(size):
    with pytest.raises(MessageTooLarge, match=str(size)):
        PARSER.parse(b"\xff" * size)


def test_bytes_that_are_no_message_are_malformed():
    with pytest.raises(MalformedMessage, match=r"munjang\.v1\.EncodeRequest"):
        PARSER.parse(b"\xff\xff")


def test_the_first_text_that_is_not_utf8_is_named():
    message = pb2.EncodeRequest(texts=["가", "나쁨", "다", "나쁨"])
    with pytest.raises(InvalidText) as caught:
        PARSER.parse(broken(message, "나쁨"))
    assert caught.value.path == "texts[1]"


def test_partial_parsing_keeps_the_good_texts_and_leaves_the_others_empty():
    message = pb2.EncodeRequest(texts=["가", "나쁨", "다", "나쁨"], partial_results=True)
    read, errors = PARSER.parse_partial(broken(message, "나쁨"))
    assert list(read.texts) == ["가", "", "다", ""]
    assert read.partial_results
    assert {index: error.path for index, error in errors.items()} == {1: "texts[1]", 3: "texts[3]"}


def test_a_broken_option_cannot_be_left_out():
    message = pb2.EncodeRequest(texts=["가"], options={"prompt_name": "질문"})
    with pytest.raises(InvalidText) as caught:
        PARSER.parse_partial(broken(message, "질문"))
    assert caught.value.path == "options.prompt_name"


def test_the_envelope_of_a_stream_is_left_out_of_the_path():
    parser = Parser(pb2.EncodeStreamRequest, 10_000, root="request")
    message = pb2.EncodeStreamRequest(id="하나", request=pb2.EncodeRequest(texts=["가", "나쁨"]))
    read, errors = parser.parse_partial(broken(message, "나쁨"))
    assert read.id == "하나"
    assert [error.path for error in errors.values()] == ["texts[1]"]


def test_a_broken_string_deep_in_a_message_is_named_by_its_path():
    parser = Parser(job_service_pb2.SubmitJobRequest, 10_000)
    message = job_service_pb2.SubmitJobRequest(spec={"carry_columns": ["제목", "나쁨"]})
    with pytest.raises(InvalidText) as caught:
        parser.parse(broken(message, "나쁨"))
    assert caught.value.path == "spec.carry_columns[1]"


def test_a_list_of_too_many_texts_is_refused_before_the_unreadable_ones_are_looked_for():
    parser = Parser(pb2.EncodeRequest, 10_000, max_texts=3)
    message = pb2.EncodeRequest(texts=["가", "나쁨", "다"])
    assert list(parser.parse_partial(broken(message, "나쁨"))[1]) == [1]
    message.texts.append("라")
    with pytest.raises(TooManyTexts) as caught:
        parser.parse_partial(broken(message, "나쁨"))
    assert caught.value.path == "texts"


def test_a_long_name_of_an_unknown_prompt_is_not_repeated_whole():
    with pytest.raises(UnknownPrompt) as caught:
        PromptRequest("options.", "가" * 1_000_000).resolve(FakeEncoder().info)
    assert caught.value.path == "options.prompt_name"
    assert len(str(caught.value)) < 1000


@given(raw=st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_refusal(raw):
    try:
        read, errors = PARSER.parse_partial(raw)
    except (MalformedMessage, InvalidText):
        return
    assert all(read.texts[index] == "" for index in errors)


@given(st.lists(st.text(max_size=5), max_size=40), st.text(max_size=5), st.integers(1, 2**32 - 1))
def test_fields_are_counted_as_protobuf_has_them(texts, name, dimensions):
    options = {"version": f"v{name}", "dimensions": dimensions, "normalize": False}
    message = pb2.EncodeStreamRequest(id=f"i{name}", request={"texts": texts, "options": options})
    raw = message.SerializeToString()
    count = 1 + 1 + len(texts) + 1 + 3  # id, request, its texts and options, the fields of those
    assert not fields_exceed(raw, pb2.EncodeStreamRequest.DESCRIPTOR, count)
    assert fields_exceed(raw, pb2.EncodeStreamRequest.DESCRIPTOR, count - 1)


@given(st.binary(max_size=60))
def test_counting_fields_of_any_bytes_ends(raw):
    assert fields_exceed(raw, pb2.EncodeStreamRequest.DESCRIPTOR, 1000) is False


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0a\x00" * 50_000,
        b"\x0a\x01a" * 50_000,
        b"\x98\x06\x01" * 50_000,
        b"\x9d\x06aaaa" * 50_000,
        b"\x93\x06" * 50_000,
    ],
)
def test_a_message_of_very_many_fields_is_refused_before_it_is_parsed(raw, monkeypatch):
    monkeypatch.setattr(pb2.EncodeRequest, "FromString", pytest.fail, raising=False)
    with pytest.raises(TooManyTexts, match="more than 1088 fields"):
        Parser(pb2.EncodeRequest, 1 << 24).parse(raw)
