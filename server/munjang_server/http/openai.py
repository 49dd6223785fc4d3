"""OpenAI's dialect: /v1/embeddings and /v1/models. `model` names a version; the reply says which one answered."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from pydantic import BaseModel, Field

from munjang.errors import (
    InvalidOption,
    MunjangError,
    PermissionDenied,
    RateLimited,
    TryLater,
    Unauthenticated,
    VersionNotFound,
)
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import model_service_pb2, resources_pb2
from munjang_server.http import body
from munjang_server.http.body import Texts  # noqa: TC001 - pydantic needs the type at run time
from munjang_server.http.endpoint import json_response
from munjang_server.http.errors import http_status
from munjang_server.rpc.request_parsing import NO_ERRORS
from munjang_server.scheduling.api import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from munjang_server.http.endpoint import Incoming
    from munjang_server.http.model_names import ModelNames
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.embedding_service import Encode, EncodeResult
    from munjang_server.rpc.model_service import ModelService

SERVER_ERROR = 500
FIELDS: Final[Mapping[str, str]] = {
    "texts": "input",
    "version": "model",
    "options.version": "model",
    "options.dimensions": "dimensions",
    "options.truncation": "truncate",
    "options.role": "input_type",
}
"""The names that fields of our contract have here."""

CODES: Final[Mapping[type[MunjangError], str]] = {
    Unauthenticated: "invalid_api_key",
    VersionNotFound: "model_not_found",
    RateLimited: "rate_limit_exceeded",
}
"""The codes that OpenAI's clients know; the others are our own reasons."""

ROLES: Final = {
    "query": resources_pb2.ROLE_QUERY,
    "search_query": resources_pb2.ROLE_QUERY,
    "document": resources_pb2.ROLE_DOCUMENT,
    "passage": resources_pb2.ROLE_DOCUMENT,
    "search_document": resources_pb2.ROLE_DOCUMENT,
}
TRUNCATIONS: Final = {"END": resources_pb2.TRUNCATION_END, "NONE": resources_pb2.TRUNCATION_NONE}


class EmbeddingsRequest(body.Request):
    """A request of vectors."""

    input: Texts = Field(
        description="A text, or a list of texts.",
        examples=[["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 바이올린을 켠다."]],
    )
    model: str | None = Field(
        default=None,
        description="An alias, a version number, a space_id or a name that the server maps; with -query or -passage at "
        "its end it says the role too. None means stable.",
        examples=["stable"],
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="base64: little-endian float32 values, as the model gave them."
    )
    dimensions: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Keep the first components only (Matryoshka)."
    )
    user: str | None = Field(default=None, description="Taken for the sake of clients that send it.")
    input_type: str | None = Field(
        default=None, description=f"What the texts are for: {', '.join(ROLES)}.", examples=["query"]
    )
    truncate: Literal["END", "NONE"] = Field(
        default="END", description="What happens to a text that is longer than the model reads: cut it, or refuse it."
    )


def write_error(error: MunjangError) -> tuple[int, bytes]:
    """An error as OpenAI writes it."""
    status = http_status(error)
    kind = "invalid_request_error"
    if isinstance(error, Unauthenticated):
        kind = "authentication_error"
    elif isinstance(error, PermissionDenied):
        kind = "permission_error"
    elif isinstance(error, TryLater) and status < SERVER_ERROR:
        kind = "rate_limit_error"
    elif status >= SERVER_ERROR:
        kind = "server_error"
    field = FIELDS.get(error.field, error.field)
    param = field if error.index is None else f"{field}[{error.index}]"
    code = CODES.get(type(error), error.reason.lower())
    content = {"error": {"message": str(error), "type": kind, "param": param or None, "code": code}}
    return status, orjson.dumps(content)


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """What was read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    """Vectors, in the order of the texts, and who made them."""

    object: Literal["list"]
    data: list[Embedding]
    model: str = Field(description="The number of the version that answered.")
    space_id: str | None = Field(default=None, description="The space of that version.")
    usage: Usage


class Model(BaseModel):
    """A name that answers."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    version: int
    space_id: str | None = None
    dimensions: int
    max_tokens: int


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[Model]


class Error(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorReply(BaseModel):
    """An error, as OpenAI writes it."""

    error: Error


class Embeddings:
    """Answers POST /v1/embeddings by Encode."""

    def __init__(self, encode: Encode, names: ModelNames) -> None:
        self._encode = encode
        self._names = names

    async def __call__(self, incoming: Incoming, call: Call) -> Response:
        """Answer one request."""
        asked = body.parse(EmbeddingsRequest, incoming.body)
        version, role = self._names.resolve(asked.model or "")
        options = resources_pb2.EncodeOptions(
            version=version,
            dimensions=asked.dimensions or 0,
            truncation=TRUNCATIONS[asked.truncate],
            role=_role(asked.input_type, role),
        )
        request = pb2.EncodeRequest(texts=asked.input, options=options)
        serialize = _base64 if asked.encoding_format == "base64" else _floats
        return json_response(await self._encode.answer(request, NO_ERRORS, call, Lane.INTERACTIVE, serialize))


def _role(input_type: str | None, of_name: resources_pb2.Role.ValueType) -> resources_pb2.Role.ValueType:
    """The role that a request asks for, by its field or by the model's name.

    Raises:
        InvalidOption: an unknown one, or two that contradict each other.
    """
    if input_type is None:
        return of_name
    role = ROLES.get(input_type)
    if role is None:
        msg = f"unknown input_type {input_type[:64]!r}; there are {', '.join(ROLES)}"
        raise InvalidOption(msg, field="input_type")
    if of_name not in {resources_pb2.ROLE_UNSPECIFIED, role}:
        msg = f"input_type {input_type!r} contradicts the end of the model's name"
        raise InvalidOption(msg, field="input_type")
    return role


def _floats(result: EncodeResult) -> bytes:
    return _reply(result, list(result.rows()))


def _base64(result: EncodeResult) -> bytes:
    rows = result.rows().astype("<f4", copy=False)
    return _reply(result, [base64.b64encode(row.tobytes()).decode("ascii") for row in rows])


def _reply(result: EncodeResult, embeddings: list[Any]) -> bytes:
    tokens = sum(result.encoded.token_counts())
    reply = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index, embedding in enumerate(embeddings)
        ],
        "model": str(result.version),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if result.space_id:
        reply["space_id"] = result.space_id
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


class Models:
    """Answers GET /v1/models and GET /v1/models/{model}: aliases and versions that can answer."""

    def __init__(self, models: ModelService, names: ModelNames) -> None:
        self._models = models
        self._names = names

    async def list(self, incoming: Incoming, call: Call) -> Response:  # noqa: ARG002 - every handler gets both
        """All aliases that have a version, all versions that answer, and the names that the server maps."""
        found = await self._models.list_versions(model_service_pb2.ListVersionsRequest(), call)
        versions = {version.version: version for version in found.versions}
        named = {alias.name: versions[alias.serving] for alias in found.aliases if alias.serving in versions}
        numbered = {
            str(version.version): version
            for version in found.versions
            if version.state == resources_pb2.VERSION_STATE_AVAILABLE
        }
        served = named | numbered
        mapped = {name: served[version] for name, version in self._names.mapped.items() if version in served}
        data = [_model(name, version) for name, version in (served | mapped).items()]
        return json_response(orjson.dumps({"object": "list", "data": data}))

    async def get(self, incoming: Incoming, call: Call) -> Response:
        """One of them."""
        name = incoming.path["model"]
        version, _ = self._names.resolve(name)
        found = await self._models.get_version(model_service_pb2.GetVersionRequest(version=version), call)
        return json_response(orjson.dumps(_model(name, found.version)))


def _model(name: str, version: resources_pb2.ModelVersion) -> dict[str, Any]:
    model = {
        "id": name,
        "object": "model",
        "created": version.created_at.ToSeconds(),
        "owned_by": version.base_model or "munjang",
        "version": version.version,
        "dimensions": version.dimensions,
        "max_tokens": version.max_tokens,
    }
    return model | ({"space_id": version.space_id} if version.space_id else {})
