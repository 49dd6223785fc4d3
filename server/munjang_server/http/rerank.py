"""The rerank dialect of Cohere and Jina: POST /v1/rerank, by Rerank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, Field

from munjang.v1 import rerank_service_pb2 as pb2
from munjang_server.http import body
from munjang_server.http.endpoint import json_response
from munjang_server.http.errors import http_status
from munjang_server.http.openai import Usage  # noqa: TC001 - pydantic needs the type at run time

if TYPE_CHECKING:
    from starlette.responses import Response

    from munjang.errors import MunjangError
    from munjang_server.http.endpoint import Incoming
    from munjang_server.http.model_names import ModelNames
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.rerank_service import Rerank


class Document(body.Request):
    """A document as an object."""

    text: str


def _texts(value: Any) -> Any:
    """Documents, some of which may be objects with a text, as texts."""
    if not isinstance(value, list):
        return value
    return [each["text"] if isinstance(each, dict) and each.keys() == {"text"} else each for each in value]


Documents = Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=list[str | Document])]


class RerankRequest(body.Request):
    """A request of an order."""

    model: str | None = Field(
        default=None, description="A version as elsewhere. None means rerank.", examples=["rerank"]
    )
    query: str = Field(description="What the documents should answer.", examples=["서울의 날씨는?"])
    documents: Documents = Field(
        description="Texts to order.", examples=[["오늘 서울에는 비가 온다.", "남자가 드럼을 친다."]]
    )
    top_n: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Keep the best only. None means all.")
    return_documents: bool = Field(default=False, description="Return the documents with their scores.")


class Ranked(BaseModel):
    """A document's place in the order."""

    index: int
    relevance_score: float
    document: Document | None = None


class RerankReply(BaseModel):
    """The order, best first, and who made it."""

    id: str = Field(description="The request's id.")
    object: Literal["list"]
    model: str = Field(description="The number of the version that answered.")
    space_id: str | None = None
    results: list[Ranked]
    usage: Usage


class RerankErrorReply(BaseModel):
    """An error, as Cohere writes it, with our own reason."""

    message: str
    code: str
    param: str | None


def write_error(error: MunjangError) -> tuple[int, bytes]:
    """An error as Cohere writes it."""
    param = error.path.replace("version", "model") or None
    return http_status(error), orjson.dumps({"message": str(error), "code": error.reason.lower(), "param": param})


class Reranking:
    """Answers POST /v1/rerank."""

    def __init__(self, rerank: Rerank, names: ModelNames) -> None:
        self._rerank = rerank
        self._names = names

    async def __call__(self, incoming: Incoming, call: Call) -> Response:
        """Answer one request."""
        asked = body.parse(RerankRequest, incoming.body)
        version, _ = self._names.resolve(asked.model or "")
        request = pb2.RerankRequest(
            query=asked.query, documents=asked.documents, version=version, top_n=asked.top_n or 0
        )
        reply = pb2.RerankResponse.FromString(await self._rerank.answer(request, call))
        tokens = sum(reply.token_counts)
        content: dict[str, Any] = {
            "id": call.request_id,
            "object": "list",
            "model": str(reply.version),
            "results": [
                {"index": each.index, "relevance_score": each.score}
                | ({"document": {"text": asked.documents[each.index]}} if asked.return_documents else {})
                for each in reply.results
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return json_response(orjson.dumps(content | ({"space_id": reply.space_id} if reply.space_id else {})))
