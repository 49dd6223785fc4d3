"""Errors on the wire: one table from munjang's errors to gRPC codes, and the google.rpc.Status that carries them.

An error without a reason of its own is INTERNAL: the caller gets a request id only, the log gets the details.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from munjang import errors

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN: Final = "munjang"
DETAILS_KEY: Final = "grpc-status-details-bin"
REQUEST_ID_KEY: Final = "x-request-id"
UNEXPECTED: Final = errors.InternalError.reason

CODES: Final[dict[type[errors.MunjangError], grpc.StatusCode]] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.WrongKind: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineUnreachable: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.EngineUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.VersionLoading: grpc.StatusCode.UNAVAILABLE,
    errors.VersionNotFound: grpc.StatusCode.NOT_FOUND,
    errors.VersionNotReady: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.EncodeFailed: grpc.StatusCode.INTERNAL,
    errors.JobNotFound: grpc.StatusCode.NOT_FOUND,
    errors.InvalidJob: grpc.StatusCode.INVALID_ARGUMENT,
    errors.JobConflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.QueueUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.MunjangError: grpc.StatusCode.INTERNAL,
}
"""By class; an error takes the code of its nearest ancestor."""


def code_of(error: errors.MunjangError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def public(error: Exception, request_id: str) -> errors.MunjangError:
    """What a caller may see of an error: the error itself if it was made for callers, else only the request id."""
    if isinstance(error, errors.MunjangError) and error.reason != UNEXPECTED:
        return error
    return errors.InternalError(f"internal error; the server's log has the details under request id {request_id}")


def status_of(error: errors.MunjangError) -> status_pb2.Status:
    """The error as a google.rpc.Status: ErrorInfo always, BadRequest where a field is at fault, RetryInfo on a hint."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.path, description=str(error))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration(seconds=int(error.retry_after), nanos=int(error.retry_after % 1 * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_of(error).value[0], message=str(error))
    for detail in details:
        status.details.add().Pack(detail)
    return status
