"""The grpc.health.v1 protocol, which the base install has no stubs of: its two messages have one field each.

HealthCheckRequest is `string service = 1` and HealthCheckResponse is `enum status = 1`; on the wire they are the
well-known StringValue and Int32Value, so these stand for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from munjang.errors import DeadlineExceeded, TryLater

if TYPE_CHECKING:
    from munjang.errors import MunjangError

WATCH: Final = "/grpc.health.v1.Health/Watch"
SERVING: Final = 1


def request(service: str = "") -> StringValue:
    """The request for one service; empty means the server as a whole."""
    return StringValue(value=service)


def bearable(error: MunjangError) -> MunjangError:
    """The error, if a server may yet become ready after it.

    Raises:
        MunjangError: the error, if waiting is of no use.
    """
    if isinstance(error, TryLater | DeadlineExceeded):
        return error
    raise error


serialize: Final = StringValue.SerializeToString
parse: Final = Int32Value.FromString
