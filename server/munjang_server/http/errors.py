"""HTTP statuses and headers of munjang's errors; each dialect writes the body."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import grpc

from munjang import errors
from munjang_server.rpc.errors import code_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnsupportedMediaType(errors.MalformedMessage):
    """The body is not in a form that this route reads."""


class BodyTooSlow(errors.MalformedMessage):
    """The body did not come in time."""


class NoSuchPath(errors.MunjangError):
    """Nothing is served at this path."""

    reason = "INVALID_OPTION"


class MethodNotAllowed(errors.InvalidRequest):
    """The path is served, but not by this HTTP method."""


class GrpcOnly(errors.InvalidRequest):
    """The method is a stream, or this server does not have it: not over HTTP."""


OF_ERROR: Final[Mapping[type[errors.MunjangError], HTTPStatus]] = {
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    NoSuchPath: HTTPStatus.NOT_FOUND,
    GrpcOnly: HTTPStatus.NOT_IMPLEMENTED,
    MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.MessageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
"""What HTTP has a status of its own for."""

OF_CODE: Final[Mapping[grpc.StatusCode, HTTPStatus]] = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""By gRPC code, as the Connect protocol has them."""


def http_status(error: errors.MunjangError) -> int:
    """The HTTP status of an error."""
    return OF_ERROR.get(type(error)) or OF_CODE[code_of(error)]


def error_headers(error: errors.MunjangError) -> dict[str, str]:
    """The headers that go with an error, whatever its dialect."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return headers
