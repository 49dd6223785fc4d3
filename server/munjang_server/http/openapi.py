"""The OpenAPI document of the HTTP door, made from the requests' models and from the descriptors of our contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor
from pydantic import BaseModel, TypeAdapter

import munjang
from munjang_server.http.body import JSON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, MethodDescriptor

REFERENCE: Final = "#/components/schemas/{model}"

STATUSES: Final = {
    "400": "The request has to be changed.",
    "401": "No token, or one that this server does not know.",
    "403": "A token without the right to this call.",
    "404": "No such version.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is of another type, or compressed.",
    "429": "Over a rate limit, or no room or no time for the work; Retry-After says when to try again.",
    "500": "The model failed on a text, or the server did.",
    "503": "Not now: the server drains, loads, or its engine is stuck.",
    "504": "The deadline passed.",
}
"""What every call may be answered with, beside 200."""

HEADERS: Final[list[dict[str, Any]]] = [
    {
        "name": "x-request-timeout",
        "in": "header",
        "description": "Seconds that the caller waits; what cannot be answered by then is refused at once.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 2_592_000},
    },
    {
        "name": "x-request-id",
        "in": "header",
        "description": "The caller's name for the call; it comes back, and is in the server's log.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
]

SCALARS: Final[dict[int, dict[str, Any]]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.TYPE_INT64: {"type": ["string", "integer"], "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": ["string", "integer"], "format": "uint64"},
    FieldDescriptor.TYPE_FLOAT: {"type": ["number", "string"], "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": ["number", "string"], "format": "double"},
}
WELL_KNOWN: Final = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string"},
    "google.protobuf.Any": {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of one route.

    Attributes:
        path: of the route.
        verb: get or post.
        tag: the dialect.
        summary: one line.
        reply: the type of the answer, or None if it is no JSON.
        request: the model of the body, or None.
        error: the model of errors, or None where there are none in JSON.
        more: further statuses.
    """

    path: str
    verb: str
    tag: str
    summary: str
    reply: Any = None
    request: type[BaseModel] | None = None
    error: type[BaseModel] | None = None
    more: dict[str, str] = field(default_factory=dict)


def document(operations: Sequence[Operation], methods: Sequence[MethodDescriptor], examples: dict[str, Any]) -> Any:
    """The document, as OpenAPI 3.1 in JSON's types.

    Args:
        operations: the routes of the dialects.
        methods: the methods of our contract that are served as JSON.
        examples: a request by the name of a method.
    """
    schemas: dict[str, Any] = {"ConnectError": CONNECT_ERROR}
    paths: dict[str, Any] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.verb] = _operation(each, schemas)
    for method in methods:
        path = f"/{method.containing_service.full_name}/{method.name}"
        paths[path] = {"post": _method(method, schemas, examples.get(method.name))}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "munjang",
            "version": munjang.__version__,
            "description": "Korean sentence embeddings over HTTP: OpenAI's, TEI's and Cohere's dialects, and munjang's "
            "own contract as JSON. All lead to the calls that gRPC makes.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


CONNECT_ERROR: Final = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {"type": {"type": "string"}, "value": {"type": "string"}},
            },
        },
    },
}


def _operation(each: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"tags": [each.tag], "summary": each.summary, "responses": {}}
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in each.path.split("/")
        if part.startswith("{")
    ]
    answered: dict[str, Any] = {"description": "The answer."}
    if each.reply is not None:
        answered["content"] = {JSON: {"schema": _schema(each.reply, "serialization", schemas)}}
    operation["responses"]["200"] = answered
    if each.error is not None:
        parameters += HEADERS
        content = {JSON: {"schema": _schema(each.error, "serialization", schemas)}}
        for status, meaning in {**STATUSES, **each.more}.items():
            operation["responses"][status] = {"description": meaning, "content": content}
    else:
        operation["security"] = [{}]
        for status, meaning in each.more.items():
            operation["responses"][status] = {"description": meaning}
    if each.request is not None:
        schema = _schema(each.request, "validation", schemas)
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
        operation["requestBody"]["content"][JSON]["example"] = _example(each.request)
    if parameters:
        operation["parameters"] = parameters
    return operation


def _schema(kind: Any, mode: Any, schemas: dict[str, Any]) -> Any:
    """The schema of a type; its models go to `schemas`."""
    schema = TypeAdapter(kind).json_schema(ref_template=REFERENCE, mode=mode)
    schemas.update(schema.pop("$defs", {}))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        schemas[kind.__name__] = schema
        return {"$ref": REFERENCE.format(model=kind.__name__)}
    return schema


def _example(kind: type[BaseModel]) -> dict[str, Any]:
    """A request made of the examples of its fields."""
    made: dict[str, Any] = {}
    for name, each in kind.model_fields.items():
        if each.examples:
            made[name] = each.examples[0]
        elif each.is_required() and isinstance(each.annotation, type) and issubclass(each.annotation, BaseModel):
            made[name] = _example(each.annotation)
    return made


def _method(method: MethodDescriptor, schemas: dict[str, Any], example: Any) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": REFERENCE.format(model="ConnectError")}}}
    body: dict[str, Any] = {"schema": _message(method.input_type, schemas)}
    if example is not None:
        body["example"] = example
    return {
        "tags": [method.containing_service.full_name],
        "summary": f"{method.name} of {method.containing_service.name}, by the Connect protocol.",
        "parameters": HEADERS,
        "requestBody": {"required": True, "content": {JSON: body}},
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {JSON: {"schema": _message(method.output_type, schemas)}},
            },
            **{status: {"description": meaning, "content": error} for status, meaning in STATUSES.items()},
            "501": {"description": "Not served over HTTP.", "content": error},
        },
    }


def _message(message: Descriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if message.full_name in WELL_KNOWN:
        return WELL_KNOWN[message.full_name]
    name = message.full_name
    if name not in schemas:
        schemas[name] = {}  # so that a message that holds itself ends
        schemas[name] = {
            "type": "object",
            "properties": {each.json_name: _field(each, schemas) for each in message.fields},
            "additionalProperties": False,
        }
    return {"$ref": REFERENCE.format(model=name)}


def _field(each: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if each.message_type is not None and each.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _field(each.message_type.fields_by_name["value"], schemas)}
    if each.enum_type is not None:
        one = _enum(each.enum_type)
    elif each.message_type is not None:
        one = _message(each.message_type, schemas)
    else:
        one = SCALARS[each.type]
    return {"type": "array", "items": one} if each.is_repeated else one


def _enum(enum: EnumDescriptor) -> dict[str, Any]:
    return {"type": "string", "enum": [value.name for value in enum.values]}
