"""The page of errors that callers read is in step with the proto's reasons and the server's codes."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from munjang import errors
from munjang.v1 import error_reason_pb2
from munjang_server.rpc.errors import code_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "errors.md"


def rows():
    cells = [line.strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [code.strip() for code in row[1].split(",")] for row in cells}


def codes():
    """The codes by reason of every error class that a server sends; parents and the client's own are not."""
    found: dict[str, set[str]] = {}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if kind is errors.MunjangError or "reason" not in vars(kind):
            continue
        if kind in (errors.InvalidRequest, errors.AccessDenied, errors.TryLater, errors.ServerUnreachable):
            continue
        found.setdefault(kind.reason, set()).add(code_of(kind("문장")).name)
    return found


def test_every_reason_of_the_proto_is_on_the_page():
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - an enum

    assert rows().keys() == names - {"UNSPECIFIED"}


@pytest.mark.parametrize(("reason", "expected"), sorted(codes().items()))
def test_the_page_names_the_codes_that_the_server_sends(reason, expected):
    assert set(rows()[reason]) == expected
