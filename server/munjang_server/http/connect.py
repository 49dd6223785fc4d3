"""Our own contract over HTTP: each unary method at /munjang.v1.Service/Method by the Connect protocol, JSON or binary.

Not PyPI's connectrpc: it reads and writes messages of another protobuf library, and ours are Google's. Streams are for
gRPC only.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import orjson
from google.protobuf import json_format, message_factory
from starlette.responses import Response

from munjang.errors import MalformedMessage
from munjang_server.http.body import JSON
from munjang_server.http.errors import GrpcOnly, http_status
from munjang_server.rpc.errors import code_of, status_of

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

    from munjang.errors import MunjangError
    from munjang_server.http.endpoint import Incoming
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.interceptor import UnaryHandler

PROTO: Final = "application/proto"
KINDS: Final = (JSON, PROTO)
MAX_DEPTH = 32
"""No message of the contract is as deep."""


def write_error(error: MunjangError) -> tuple[int, bytes]:
    """An error as the Connect protocol has it, with the details of gRPC's."""
    code = "unimplemented" if isinstance(error, GrpcOnly) else code_of(error).name.lower()
    details = [
        {"type": detail.type_url.rpartition("/")[2], "value": base64.b64encode(detail.value).decode().rstrip("=")}
        for detail in status_of(error).details
    ]
    return http_status(error), orjson.dumps({"code": code, "message": str(error), "details": details})


class Unary:
    """Answers one method by the handler of bytes that answers it over gRPC."""

    def __init__(self, method: MethodDescriptor, handler: UnaryHandler) -> None:
        self._request: Any = message_factory.GetMessageClass(method.input_type)
        self._reply: Any = message_factory.GetMessageClass(method.output_type)
        self._handler = handler

    async def __call__(self, incoming: Incoming, call: Call) -> Response:
        """Answer one call, in the form in which it came."""
        if incoming.headers["content-type"].partition(";")[0].strip().lower() == PROTO:
            return Response(await self._handler(incoming.body, call), media_type=PROTO)
        reply = await self._handler(self._parse(incoming.body), call)
        message = self._reply.FromString(reply)
        return Response(json_format.MessageToJson(message, indent=None, ensure_ascii=False), media_type=JSON)

    def _parse(self, raw: bytes) -> bytes:
        """The bytes of the message that JSON describes.

        Raises:
            MalformedMessage: it is no JSON, or not that of this message.
        """
        name = self._request.DESCRIPTOR.full_name
        try:
            found = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            msg = f"the body is not valid JSON: {error}"
            raise MalformedMessage(msg) from error
        if not isinstance(found, dict):
            msg = f"the JSON of a {name} is an object"
            raise MalformedMessage(msg)
        try:
            message = json_format.ParseDict(found, self._request(), max_recursion_depth=MAX_DEPTH)
            parsed: bytes = message.SerializeToString()
        except (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError) as error:
            msg = f"the JSON is not a {name}: {str(error)[:200]}"
            raise MalformedMessage(msg) from error
        return parsed


async def refuse(incoming: Incoming, call: Call) -> Response:  # noqa: ARG001 - every handler gets both
    """Answers a method that is not served here.

    Raises:
        GrpcOnly: always.
    """
    msg = f"{call.rpc.path} is not served over HTTP: call it over gRPC"
    raise GrpcOnly(msg)
