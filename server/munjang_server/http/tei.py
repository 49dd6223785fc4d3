"""The dialect of text-embeddings-inference: /embed, /similarity, /rerank, /info, /health and /tokenize.

It names no version: `stable` answers, and `rerank` for /rerank. Errors have its types and its statuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

import munjang
from munjang import errors
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import model_service_pb2, rerank_service_pb2, resources_pb2
from munjang_server.http import body
from munjang_server.http.body import Texts  # noqa: TC001 - pydantic needs the type at run time
from munjang_server.http.endpoint import json_response
from munjang_server.http.errors import http_status
from munjang_server.rpc.request_parsing import NO_ERRORS, check_count
from munjang_server.scheduling.api import Lane

if TYPE_CHECKING:
    from starlette.requests import Request

    from munjang.settings import ServerSettings
    from munjang_server.http.endpoint import Incoming
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.embedding_service import EncodeResult
    from munjang_server.rpc.services import Services

FIELDS: Final = {
    "texts": "inputs",
    "queries": "inputs.source_sentence",
    "candidates": "inputs.sentences",
    "documents": "texts",
    "options.prompt_name": "prompt_name",
    "options.dimensions": "dimensions",
}
"""The names that fields of our contract have here."""

TYPES: Final[tuple[tuple[type[errors.MunjangError], str, int], ...]] = (
    (errors.NoTexts, "empty", 400),
    (errors.InvalidText, "tokenizer", 422),
    (errors.WrongKind, "backend", 424),
    (errors.VersionNotFound, "backend", 424),
    (errors.EncodeFailed, "backend", 424),
    (errors.EngineUnavailable, "unhealthy", 503),
    (errors.ShuttingDown, "unhealthy", 503),
    (errors.VersionLoading, "unhealthy", 503),
    (errors.TryLater, "overloaded", 429),
    (errors.DeadlineExceeded, "overloaded", 504),
    (errors.AccessDenied, "unauthorized", 0),
    (errors.MalformedMessage, "validation", 0),
    (errors.InvalidRequest, "validation", 413),
)
"""The type and the status of each error; 0: the status that it has in every dialect."""

UNHEALTHY = orjson.dumps({"error": "unhealthy", "error_type": "unhealthy"})


class Truncating(body.Request):
    """What TEI's requests have in common."""

    truncate: bool | None = Field(default=None, description="Cut a text that is too long; None means true.")
    truncation_direction: Literal["Right", "right"] = Field(
        default="Right", description="The end that is cut off. A model here is cut where it was trained to be."
    )


class EmbedRequest(Truncating):
    """A request of vectors."""

    inputs: Texts = Field(description="A text, or a list of texts.", examples=[["남자가 드럼을 친다.", "비가 온다."]])
    prompt_name: str | None = Field(default=None, description="One of the model's prompts.", examples=["query"])
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    dimensions: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Keep the first components only.")


class SimilarityInput(body.Request):
    """A sentence and those that it is compared with."""

    source_sentence: str = Field(examples=["남자가 음악을 연주하고 있다."])
    sentences: list[str] = Field(examples=[["남자가 드럼을 친다.", "비가 온다."]])


class SimilarityParameters(Truncating):
    """How they are read."""

    prompt_name: str | None = Field(default=None, description="One of the model's prompts.")


class SimilarityRequest(body.Request):
    """A request of scores."""

    inputs: SimilarityInput
    parameters: SimilarityParameters | None = None


class TeiRerankRequest(Truncating):
    """A request of an order."""

    query: str = Field(examples=["서울의 날씨는?"])
    texts: list[str] = Field(examples=[["오늘 서울에는 비가 온다.", "남자가 드럼을 친다."]])
    raw_scores: bool = Field(default=False, description="The model's output as it is.")
    return_text: bool = Field(default=False, description="Return the texts with their scores.")


class TokenizeRequest(body.Request):
    """A request of tokens."""

    inputs: Texts = Field(description="A text, or a list of texts.", examples=["남자가 드럼을 친다."])
    add_special_tokens: bool = True
    prompt_name: str | None = Field(default=None, description="One of the model's prompts.")


class Rank(BaseModel):
    """A text's place in the order."""

    index: int
    score: float
    text: str | None = None


class Token(BaseModel):
    """One token; offsets are characters of the text with its prompt, null for a special token."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Info(BaseModel):
    """The model and the server's limits."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, Any]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None


class TeiErrorReply(BaseModel):
    """An error, as TEI writes it."""

    error: str
    error_type: str


def write_error(error: errors.MunjangError) -> tuple[int, bytes]:
    """An error as TEI writes it."""
    found = next(((kind, status) for each, kind, status in TYPES if isinstance(error, each)), ("backend", 0))
    field = FIELDS.get(error.field, error.field)
    where = field if error.index is None else f"{field}[{error.index}]"
    message = f"{where}: {error}" if where and not str(error).startswith(where) else str(error)
    return found[1] or http_status(error), orjson.dumps({"error": message, "error_type": found[0]})


class Tei:
    """Answers all of them.

    Args:
        settings: the limits that /info tells.
        services: the calls.
    """

    def __init__(self, settings: ServerSettings, services: Services) -> None:
        self._settings = settings
        self._services = services

    async def embed(self, incoming: Incoming, call: Call) -> Response:
        """Vectors, by Encode."""
        asked = body.parse(EmbedRequest, incoming.body)
        options = resources_pb2.EncodeOptions(
            prompt_name=asked.prompt_name or "",
            normalize=asked.normalize,
            dimensions=asked.dimensions or 0,
            truncation=_truncation(asked),
        )
        request = pb2.EncodeRequest(texts=asked.inputs, options=options)
        reply = await self._services.encode.answer(request, NO_ERRORS, call, Lane.INTERACTIVE, _vectors)
        return json_response(reply)

    async def similarity(self, incoming: Incoming, call: Call) -> Response:
        """Scores of one sentence with others, by Similarity."""
        asked = body.parse(SimilarityRequest, incoming.body)
        check_count(len(asked.inputs.sentences), self._settings.max_texts, "candidates")
        how = asked.parameters or SimilarityParameters()
        prompt = how.prompt_name or ""
        request = pb2.SimilarityRequest(
            queries=[asked.inputs.source_sentence],
            candidates=asked.inputs.sentences,
            query_prompt_name=prompt,
            candidate_prompt_name=prompt,
            truncation=_truncation(how),
        )
        reply = pb2.SimilarityResponse.FromString(await self._services.similarity.answer(request, call))
        return json_response(orjson.dumps(np.frombuffer(reply.scores, "<f4"), option=orjson.OPT_SERIALIZE_NUMPY))

    async def rerank(self, incoming: Incoming, call: Call) -> Response:
        """The order of texts, by Rerank."""
        asked = body.parse(TeiRerankRequest, incoming.body)
        request = rerank_service_pb2.RerankRequest(
            query=asked.query, documents=asked.texts, raw_scores=asked.raw_scores, truncation=_truncation(asked)
        )
        reply = rerank_service_pb2.RerankResponse.FromString(await self._services.rerank.answer(request, call))
        texts = asked.texts if asked.return_text else None
        ranks = [
            {"index": each.index, "score": each.score} | ({"text": texts[each.index]} if texts else {})
            for each in reply.results
        ]
        return json_response(orjson.dumps(ranks))

    async def tokenize(self, incoming: Incoming, call: Call) -> Response:
        """Tokens, of the tokenizer that Encode uses."""
        asked = body.parse(TokenizeRequest, incoming.body)
        count = call.texts = len(asked.inputs)
        check_count(count, self._settings.max_texts, "texts")
        pipeline = self._services.pipeline
        with pipeline.lease("", "version", call, count) as lease:
            info = lease.encoder.info
            prompt = info.prompts.get(asked.prompt_name or info.default_prompt)
            if prompt is None and asked.prompt_name:
                msg = f"this model version has no prompt {asked.prompt_name[:64]!r}; it has {', '.join(info.prompts)}"
                raise errors.UnknownPrompt(msg, field="prompt_name")
            special = asked.add_special_tokens
            found = await pipeline.pieces(lease, asked.inputs, "texts", prompt or "", special=special)
        return json_response(orjson.dumps(found))

    async def info(self, incoming: Incoming, call: Call) -> Response:  # noqa: ARG002 - every handler gets both
        """The model behind `stable`, and the server's limits."""
        asked = model_service_pb2.GetVersionRequest()
        version = (await self._services.models.get_version(asked, call)).version
        settings = self._settings
        info = Info(
            model_id=version.base_model or f"version {version.version}",
            model_sha=version.space_id or None,
            model_dtype=settings.compute_type,
            model_type={"embedding": {"pooling": "as published"}},
            max_concurrent_requests=settings.http_connections,
            max_input_length=version.max_tokens,
            max_batch_tokens=settings.batch_tokens,
            max_batch_requests=None,
            max_client_batch_size=settings.max_texts,
            auto_truncate=True,
            tokenization_workers=settings.tokenize_threads,
            version=munjang.__version__,
            sha=None,
            docker_label=None,
        )
        return json_response(info.model_dump_json().encode())

    async def health(self, request: Request) -> Response:  # noqa: ARG002 - of the framework
        """Whether this server can answer."""
        if self._services.health.serving:
            return Response()
        return Response(UNHEALTHY, 503, media_type=body.JSON)


def _truncation(asked: Truncating) -> resources_pb2.Truncation.ValueType:
    return resources_pb2.TRUNCATION_NONE if asked.truncate is False else resources_pb2.TRUNCATION_END


def _vectors(result: EncodeResult) -> bytes:
    return orjson.dumps(result.rows(), option=orjson.OPT_SERIALIZE_NUMPY)
