"""What comes through Redis is plain data, whoever wrote it and however."""

from __future__ import annotations

import json
import os
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.bulk.serializer import PlainJson, PlainPickle, UnsafeData, like, loads

ran: list[str] = []

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Gadget:
    def __init__(self, function: Any, *args: Any) -> None:
        self._call = (function, args)

    def __reduce__(self) -> Any:
        return self._call


def test_plain_data_of_rq_s_own_formats_is_read() -> None:
    call = ("munjang_worker.jobs.embed_file", None, ("/in", "/out"), {"precision": "int8"})
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert loads(pickle.dumps(call, protocol)) == call
    assert loads(json.dumps(call).encode()) == [call[0], None, ["/in", "/out"], call[3]]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "gadget",
    [Gadget(ran.append, "reduce"), Gadget(os.system, "true"), Gadget(eval, "ran.append('eval')"), ran.append, Gadget],
)
def test_a_pickle_that_needs_an_import_is_refused_and_nothing_runs(gadget: Any, protocol: int) -> None:
    for value in (gadget, [gadget], {"meta": gadget}):
        with pytest.raises(UnsafeData):
            loads(pickle.dumps(value, protocol))
    assert ran == []


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x05garbage", b"not json", b"cos\nsystem\n(S'true'\ntR."])
def test_bytes_that_are_neither_format_are_refused(data: bytes) -> None:
    with pytest.raises(UnsafeData):
        loads(data)


@given(VALUES)
def test_plain_data_goes_through_both_formats(value: Any) -> None:
    for serializer in (PlainJson, PlainPickle):
        assert serializer.loads(serializer.dumps(value)) == value


@given(st.binary())
def test_no_bytes_do_anything_but_load_or_be_refused(data: bytes) -> None:
    for start in (b"", b"\x80\x04", b"\x80\x05"):
        try:
            loads(start + data)
        except UnsafeData:
            continue


def test_an_answer_is_written_in_the_sender_s_format() -> None:
    assert like(pickle.dumps(1)) is PlainPickle
    assert like(b"[1]") is PlainJson


def test_objects_are_never_written() -> None:
    for serializer in (PlainJson, PlainPickle):
        with pytest.raises(TypeError):
            serializer.dumps(object())
