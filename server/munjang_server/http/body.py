"""A request's body: bounded before it is parsed, in time, and not compressed; JSON is checked by a pydantic model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from munjang.errors import InvalidOption, MalformedMessage, MessageTooLarge
from munjang_server.http.errors import BodyTooSlow, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails
    from starlette.datastructures import Headers
    from starlette.types import Receive

JSON = "application/json"


class Request(BaseModel):
    """A request's JSON. Fields that nobody knows are refused: what is ignored is not what the caller meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


R = TypeVar("R", bound=Request)


def _listed(value: Any, info: ValidationInfo) -> Any:
    """A text as a list of one. Refuses lists of token ids with the cure."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and isinstance(value[0], (int, list)):
        msg = (
            "these are token ids, of a vocabulary that is not this model's: send texts. In LangChain set "
            "OpenAIEmbeddings(check_embedding_ctx_length=False), or checkEmbeddingCtxLength: false in JavaScript"
        )
        raise InvalidOption(msg, field=info.field_name or "")
    return value


Texts = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
"""A text, or a list of texts."""


async def read(headers: Headers, receive: Receive, kinds: Iterable[str], most: int, seconds: float) -> bytes:
    """The whole body.

    Args:
        headers: of the request.
        receive: gives the body.
        kinds: the content types that are read here.
        most: bytes; longer bodies are refused unread.
        seconds: how long it may take to come.

    Raises:
        UnsupportedMediaType: it is compressed, or of another type.
        MessageTooLarge: it is longer than `most`.
        BodyTooSlow: it did not come within `seconds`.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        msg = f"the body is {kind[:64] or 'of no type'!r}; send it as {' or '.join(kinds)}"
        raise UnsupportedMediaType(msg, field="content-type")
    if headers.get("content-encoding", "identity").lower() != "identity":
        msg = "this server reads no compressed bodies: send it without a content-encoding"
        raise UnsupportedMediaType(msg, field="content-encoding")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise asyncio.CancelledError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise _too_large(most)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError as error:
        msg = f"the body did not come within {seconds:g} seconds"
        raise BodyTooSlow(msg) from error


def parse(kind: type[R], body: bytes) -> R:
    """The request that a JSON body holds.

    Raises:
        MalformedMessage: it is not JSON.
        InvalidOption: a field is missing, unknown, or of a type or value that is not allowed.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found: Any = error.errors(include_url=False, include_context=True)[0]
        raise _of(found) from None  # the values would be in the traceback


def _of(found: ErrorDetails) -> MalformedMessage | InvalidOption:
    if found["type"] == "json_invalid":
        return MalformedMessage(f"the body is not valid JSON: {found.get('ctx', {}).get('error', 'unreadable')}")
    path = ""
    for part in found["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if found["type"] == "extra_forbidden":
        return InvalidOption(f"this server knows no field {path[:64]!r} here", field=path[:64])
    return InvalidOption(f"{path or 'the body'}: {found['msg']}", field=path)


def _too_large(most: int) -> MessageTooLarge:
    return MessageTooLarge(f"the body is too large; this server takes up to {most} bytes: send fewer texts in one call")
