import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from munjang import errors
from munjang.client.grpc_errors import BY_REASON, from_call, from_status, is_retryable, split_path
from munjang.v1 import error_reason_pb2


class Failed(grpc.RpcError):
    """A failed call as grpc raises it."""

    def __init__(self, code, details="", metadata=()):
        super().__init__()
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: metadata


def described(reason, code, *, field="", retry=None, domain="munjang"):
    found = status_pb2.Status(code=code.value[0], message="말씀")
    found.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    if field:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=field)
        found.details.add().Pack(bad)
    if retry is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(retry * 1000))
        found.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return found


def test_every_reason_of_the_protocol_has_a_class():
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - an enum
    assert names - {"UNSPECIFIED"} == set(BY_REASON)


def test_the_details_travel_in_the_trailing_metadata():
    found = described("TEXT_TOO_LONG", grpc.StatusCode.INVALID_ARGUMENT, field="texts[3]")
    metadata = (("other", "x"), ("grpc-status-details-bin", found.SerializeToString()))
    error = from_call(Failed(grpc.StatusCode.INVALID_ARGUMENT, "말씀", metadata))
    assert (type(error), str(error), error.field, error.index) == (errors.TextTooLong, "말씀", "texts", 3)


def test_a_time_to_come_back_is_read():
    assert from_status(described("OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED, retry=1.5)).retry_after == 1.5


def test_a_version_that_loads_is_told_from_one_that_does_not():
    assert type(from_status(described("VERSION_NOT_READY", grpc.StatusCode.UNAVAILABLE))) is errors.VersionLoading
    failed = described("VERSION_NOT_READY", grpc.StatusCode.FAILED_PRECONDITION)
    assert type(from_status(failed)) is errors.VersionNotReady


def test_a_reason_of_a_newer_server_falls_back_to_the_code():
    found = from_status(described("TOO_POLITE", grpc.StatusCode.INVALID_ARGUMENT))
    assert (type(found), str(found)) == (errors.InvalidRequest, "말씀")


def test_reasons_of_other_domains_are_not_taken_for_ours():
    found = from_status(described("NO_TEXTS", grpc.StatusCode.UNAUTHENTICATED, domain="proxy.example"))
    assert type(found) is errors.Unauthenticated


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ServerUnreachable),
        (grpc.StatusCode.CANCELLED, errors.ServerUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDenied),
        (grpc.StatusCode.UNIMPLEMENTED, errors.MunjangError),
        (grpc.StatusCode.INTERNAL, errors.MunjangError),
    ],
)
def test_without_details_the_code_decides(code, kind):
    error = from_call(Failed(code))
    assert type(error) is kind
    assert str(error)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.ServerUnreachable("x"), True),
        (errors.ShuttingDown("x"), True),
        (errors.VersionLoading("x"), True),
        (errors.Overloaded("x"), False),
        (errors.Overloaded("x", retry_after=0), True),
        (errors.DeadlineUnreachable("x", retry_after=1), True),
        (errors.VersionNotReady("x"), False),
        (errors.DeadlineExceeded("x"), False),
        (errors.TextTooLong("x"), False),
    ],
)
def test_only_what_may_pass_is_worth_another_try(error, again):
    assert is_retryable(error) is again


def test_a_path_is_split_into_field_and_index():
    assert split_path("texts[12]") == ("texts", 12)
    assert split_path("options.dimensions") == ("options.dimensions", None)
    assert split_path("") == ("", None)
