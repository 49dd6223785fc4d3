"""Errors as google.rpc.Status: code, reason, field and retry hint; nothing of what callers may not see."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2

import munjang.errors
from munjang.errors import (
    HashMismatch,
    InternalError,
    MunjangError,
    Overloaded,
    RegistryUnavailable,
    ServerUnreachable,
    TextTooLong,
    VersionLoading,
    VersionNotReady,
)
from munjang_server.rpc.errors import CODES, code_of, public, status_of

ERRORS = [
    kind
    for kind in vars(munjang.errors).values()
    if isinstance(kind, type) and issubclass(kind, MunjangError) and kind is not ServerUnreachable
]


def details(status, kind):
    found = []
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            found.append(message)
    return found


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_code_and_its_own_reason(kind):
    status = status_of(kind("이유"))
    assert status.code == code_of(kind("이유")).value[0] != grpc.StatusCode.OK.value[0]
    [info] = details(status, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("munjang", kind.reason)


def test_a_version_that_loads_is_unavailable_and_one_that_does_not_is_a_failed_precondition():
    assert code_of(VersionLoading("곧")) is grpc.StatusCode.UNAVAILABLE
    assert code_of(VersionNotReady("아니오")) is grpc.StatusCode.FAILED_PRECONDITION


def test_the_field_is_named_with_its_index():
    status = status_of(TextTooLong("너무 길다", field="texts", index=3))
    [bad] = details(status, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == ["texts[3]"]


def test_an_error_without_a_field_names_none():
    assert not details(status_of(Overloaded("가득")), error_details_pb2.BadRequest)


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.999_999_999_9, 90.5])
def test_the_retry_hint_keeps_fractions_of_seconds(seconds):
    [hint] = details(status_of(Overloaded("가득", retry_after=seconds)), error_details_pb2.RetryInfo)
    assert hint.retry_delay.ToNanoseconds() / 1e9 == pytest.approx(seconds, abs=1e-8)


@pytest.mark.parametrize(
    "error", [ValueError("/etc/비밀"), RegistryUnavailable("/etc/비밀"), HashMismatch("/etc/비밀")]
)
def test_what_callers_may_not_see_becomes_internal_with_the_request_id(error):
    shown = public(error, "요청-7")
    assert type(shown) is InternalError
    assert "요청-7" in str(shown)
    assert "비밀" not in str(shown)


def test_what_was_made_for_callers_is_shown_as_it_is():
    error = TextTooLong("너무 길다")
    assert public(error, "요청-7") is error


def test_the_table_has_no_class_twice_over_with_its_parents_code():
    for kind, code in CODES.items():
        parents = [CODES[parent] for parent in kind.__mro__[1:] if parent in CODES]
        if kind not in (munjang.errors.EncodeFailed, MunjangError):
            assert not parents or parents[0] is not code
