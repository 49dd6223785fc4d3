"""Maps a failed call to an error class: by the server's ErrorInfo if there is one, else by status code.

Knows grpc's codes and google.rpc's details. Retries nothing (see `retry`) and raises nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from munjang import errors
from munjang.v1 import error_reason_pb2

if TYPE_CHECKING:
    from munjang.v1 import embedding_service_pb2

_DETAILS: Final = "grpc-status-details-bin"
_DOMAIN: Final = "munjang"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_PATH = re.compile(r"(?P<field>.*)\[(?P<index>\d+)\]")

BY_REASON: Final[dict[str, type[errors.MunjangError]]] = {
    kind.reason: kind
    for kind in (
        errors.MalformedMessage,
        errors.MessageTooLarge,
        errors.NoTexts,
        errors.TooManyTexts,
        errors.EmptyText,
        errors.InvalidText,
        errors.TextTooLong,
        errors.UnknownPrompt,
        errors.UnsupportedPrecision,
        errors.UnsupportedDimensions,
        errors.InvalidOption,
        errors.WrongKind,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.RateLimited,
        errors.VersionNotFound,
        errors.VersionNotReady,
        errors.Overloaded,
        errors.DeadlineUnreachable,
        errors.DeadlineExceeded,
        errors.ShuttingDown,
        errors.EngineUnavailable,
        errors.EncodeFailed,
        errors.InternalError,
        errors.JobNotFound,
        errors.InvalidJob,
        errors.JobConflict,
        errors.QueueUnavailable,
    )
}
"""The class of every reason; VERSION_NOT_READY under UNAVAILABLE is VersionLoading instead."""

_BY_CODE: Final[dict[grpc.StatusCode, type[errors.MunjangError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnreachable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
}


_CURES: Final = (
    ("WRONG_VERSION_NUMBER", "tls", "it speaks no TLS; leave out tls, ca, cert and key"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "ca",
        "its certificate is not trusted: it has expired, or is self-signed or private: name it or its authority by ca",
    ),
    (
        "Hostname Verification",
        "server_name",
        "its certificate is for another name than the address; call it by that name, or set server_name to it",
    ),
    (
        "security handshaker",
        "ca",
        "the files of ca, cert and key are not the PEM certificates and key that they must be",
    ),
    (
        "Expected SETTINGS frame",
        "targets",
        "what answers at this address is not gRPC; is it the port of HTTP? That of gRPC is 50051 by default",
    ),
    (
        "last error: UNAVAILABLE: ",
        "tls",
        "it closed the connection at once; does it speak TLS (set tls or ca), or ask for a certificate (cert and key)?",
    ),
)
"""What grpc says of a connection that failed, the option at fault, and what a person can do."""


def from_call(call: grpc.RpcError) -> errors.MunjangError:
    """The error of a failed call of either grpc API, made from its code, details and trailing metadata."""
    failed: Any = call  # every RpcError of a call is a Call too, which the types do not say
    code, message = failed.code(), failed.details() or ""
    for key, value in failed.trailing_metadata() or ():
        if key == _DETAILS:
            return from_status(status_pb2.Status.FromString(value))
    return _without_details(code, message)


def from_status(status: status_pb2.Status) -> errors.MunjangError:
    """The error of a google.rpc.Status, such as a stream sends for one batch."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for message in (info, bad, retry):
            detail.Unpack(message)
    if info.domain != _DOMAIN:
        return _without_details(code, status.message)
    violation = bad.field_violations[0] if bad.field_violations else None
    field, index = split_path(violation.field if violation else "")
    wait = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return _kind(info.reason, code)(status.message, field=field, index=index, retry_after=wait)


def from_text_error(error: embedding_service_pb2.TextError) -> errors.MunjangError:
    """The error of one text of a partial result."""
    name = error_reason_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    kind = BY_REASON.get(name, errors.MunjangError)
    return kind(error.message, field="texts", index=error.index)


def is_retryable(error: errors.MunjangError) -> bool:
    """Whether the same request may succeed soon: unavailable, or refused for now with a time to come back."""
    if isinstance(error, errors.Overloaded | errors.RateLimited | errors.DeadlineUnreachable):
        return error.retry_after is not None
    return isinstance(error, errors.TryLater | errors.QueueUnavailable)


def shift_index(error: errors.MunjangError, start: int) -> errors.MunjangError:
    """The same error of a text, counted from the beginning of a list of which the call's texts began at `start`."""
    if error.field in {"texts", "documents"} and error.index is not None:
        error.index += start
    return error


def split_path(path: str) -> tuple[str, int | None]:
    """`texts[3]` as field and index."""
    match = _PATH.fullmatch(path)
    return (match["field"], int(match["index"])) if match else (path, None)


def _kind(reason: str, code: grpc.StatusCode) -> type[errors.MunjangError]:
    if reason == errors.VersionLoading.reason and code is grpc.StatusCode.UNAVAILABLE:
        return errors.VersionLoading
    return BY_REASON.get(reason) or _BY_CODE.get(code, errors.MunjangError)


def _without_details(code: grpc.StatusCode, message: str) -> errors.MunjangError:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return errors.MessageTooLarge(f"the message is larger than the transport accepts: {message}")
    if code is grpc.StatusCode.UNAVAILABLE:
        for said, field, cure in _CURES:
            if said in message:
                return errors.ServerUnreachable(f"the server cannot be reached: {cure} ({message})", field=field)
        return errors.ServerUnreachable(f"the server cannot be reached: {message}")
    if code is grpc.StatusCode.CANCELLED:  # a caller who cancels gets no error made of it
        return errors.ServerUnreachable("the connection or the server ended before the call was taken up")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded("the deadline passed before the server answered")
    return _BY_CODE.get(code, errors.MunjangError)(message or f"the call failed with {code.name}")
