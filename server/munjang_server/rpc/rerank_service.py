"""RerankService: scores documents with a query by a cross-encoder, and orders them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.postprocess import activated
from munjang.errors import VersionNotFound
from munjang.kinds import ModelKind
from munjang.registry import RERANK
from munjang.v1 import rerank_service_pb2 as pb2
from munjang_server.rpc.encode_pipeline import TextList
from munjang_server.rpc.request_parsing import Parser, PromptRequest, check_count, raise_first, text_errors, truncates
from munjang_server.scheduling.api import Lane

if TYPE_CHECKING:
    from munjang.encoder.contract import ModelInfo
    from munjang.engine.contract import Lease
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.encode_pipeline import EncodePipeline

SERVICE = pb2.DESCRIPTOR.services_by_name["RerankService"].full_name


@dataclass(slots=True)
class RerankResult:
    """What a Rerank reply is made of; `top_n` of 0 keeps all documents."""

    version: int
    space_id: str
    info: ModelInfo
    top_n: int
    raw_scores: bool
    documents: TextList

    def serialize(self) -> bytes:
        """Order the documents, and write the reply."""
        raw = self.documents.rows[:, 0]
        scores = raw if self.raw_scores else activated(raw, self.info.activation)
        order = np.argsort(-scores, kind="stable")[: self.top_n or None]
        reply = pb2.RerankResponse(
            version=self.version,
            space_id=self.space_id,
            token_counts=self.documents.token_counts(),
            truncated=self.documents.truncated(),
        )
        for index in order:
            reply.results.add(index=int(index), score=float(scores[index]))
        return reply.SerializeToString()


class Rerank:
    """Serves Rerank: a query and documents in, scores and order out."""

    def __init__(self, pipeline: EncodePipeline) -> None:
        self._pipeline = pipeline
        settings = pipeline.settings
        self._parser = Parser(pb2.RerankRequest, settings.max_message_bytes, max_texts=settings.max_texts)

    async def __call__(self, raw: bytes, call: Call) -> bytes:
        """Answer one call."""
        return await self.answer(self._parser.parse(raw), call)

    async def answer(self, request: pb2.RerankRequest, call: Call) -> bytes:
        """Answer one request.

        Raises:
            MunjangError: it is refused or failed.
        """
        pipeline, settings, lane = self._pipeline, self._pipeline.settings, Lane.INTERACTIVE
        count = call.texts = len(request.documents)
        check_count(count, settings.max_texts, "documents")
        truncate = truncates(request.truncation, "truncation")
        self._check_query(request.query)
        part = TextList("documents", list(request.documents), PromptRequest(""), query=request.query)
        with self._lease(request.version, call, count) as lease:
            await pipeline.tokenize(call, lease, part, lane, truncate=truncate, partial=False)
            await pipeline.encode(call, lease, [part], lane)
            raise_first(part.errors)
            info = lease.encoder.info
            result = RerankResult(lease.version, lease.space_id, info, request.top_n, request.raw_scores, part)
            return await pipeline.finish(call, lease, count, result.serialize)

    def _check_query(self, query: str) -> None:
        """Refuse a query that is blank or too long, as texts are."""
        for error in text_errors([query], "query", self._pipeline.settings.max_text_chars).values():
            error.index = None
            raise error

    def _lease(self, version: str, call: Call, count: int) -> Lease:
        try:
            return self._pipeline.lease(version or RERANK, "version", call, count, ModelKind.CROSS_ENCODER)
        except VersionNotFound as error:
            if version:
                raise
            msg = f"no reranker is served here: publish a cross-encoder, and let the alias {RERANK!r} name it"
            raise VersionNotFound(msg, field="version") from error
