"""EmbeddingService.Similarity: texts compared where their vectors are, so that only scores travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from munjang.encoder import similarity
from munjang.encoder.postprocess import OutputOptions
from munjang.errors import InvalidOption, UnsupportedDimensions
from munjang.v1 import embedding_service_pb2 as pb2
from munjang_server.encoding import Texts, Vectors
from munjang_server.options import SIMILARITY_FUNCTIONS, cuts, mode
from munjang_server.parsing import Parser
from munjang_server.validation import check_count, raise_first

if TYPE_CHECKING:
    from munjang.encoder.contract import ModelInfo
    from munjang_server.call import Call
    from munjang_server.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Compared:
    """What a Similarity reply is made of; without `candidates` the queries are compared with themselves."""

    version: int
    info: ModelInfo
    mode: int
    top_k: int
    dimensions: int
    queries: Vectors
    candidates: Vectors | None

    def serialize(self) -> bytes:
        """Score, and write the reply."""
        reply = pb2.SimilarityResponse(
            version=self.version,
            similarity_function=SIMILARITY_FUNCTIONS[self.info.similarity],
            query_token_counts=self.queries.tokenized.counts(),
            truncated_queries=self.queries.tokenized.cut(),
        )
        if self.candidates is not None:
            reply.candidate_token_counts.extend(self.candidates.tokenized.counts())
            reply.truncated_candidates.extend(self.candidates.tokenized.cut())
        self._score(reply)
        return reply.SerializeToString()

    def _score(self, reply: pb2.SimilarityResponse) -> None:
        kept = self.dimensions or self.info.dimensions
        left = self.queries.rows[:, :kept]
        right = left if self.candidates is None else self.candidates.rows[:, :kept]
        if self.mode == pb2.SIMILARITY_MODE_PAIRWISE:
            scores = similarity.pairwise(left, right, self.info.similarity)[None]
        else:
            scores = similarity.matrix(left, right, self.info.similarity)
        if self.mode == pb2.SIMILARITY_MODE_TOP_K:
            scores, indices = similarity.top_k(scores, self.top_k)
            reply.indices.extend(indices.ravel().tolist())
        reply.rows, reply.columns = scores.shape
        reply.scores = scores.astype("<f4", copy=False).tobytes()


class Similarity:
    """Serves Similarity requests."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._parser = Parser(pb2.SimilarityRequest, encoding.settings.max_message_bytes)

    async def __call__(self, raw: bytes, call: Call) -> bytes:
        """Answer one call."""
        request = self._parser.parse(raw)
        queries, candidates = list(request.queries), list(request.candidates)
        count = call.texts = len(queries) + len(candidates)
        encoding = self._encoding
        wanted = mode(request.mode)
        cut = cuts(request.truncation, "truncation")
        self._check(request, wanted)
        call.caller.charge(texts=count)
        with encoding.lease(request.version, "version", call) as lease:
            _check_dimensions(request.dimensions, lease.encoder.info)
            sources = [Texts("queries", queries, request.query_prompt_name, "query_prompt_name")]
            if candidates:
                sources.append(Texts("candidates", candidates, request.candidate_prompt_name, "candidate_prompt_name"))
            lane = encoding.lane(count)
            parts = [await encoding.tokenize(call, lease, source, lane, cut=cut, partial=False) for source in sources]
            vectors = await encoding.encode(call, lease, parts, lane)
            for part in vectors:
                raise_first(part.faults)
            others = vectors[1] if candidates else None
            result = Compared(
                lease.version, lease.encoder.info, wanted, request.top_k, request.dimensions, vectors[0], others
            )
            cost = _cost(len(queries), len(candidates), lease.encoder.info.dimensions, wanted)
            return await encoding.finish(call, lease, cost, result.serialize)

    def _check(self, request: pb2.SimilarityRequest, wanted: int) -> None:
        """Refuse lists that do not go together, and options that contradict the mode."""
        settings = self._encoding.settings
        queries, candidates = len(request.queries), len(request.candidates)
        check_count(queries, settings.max_texts, "queries")
        if wanted == pb2.SIMILARITY_MODE_PAIRWISE:
            check_count(candidates, settings.max_texts, "candidates")
            if queries != candidates:
                msg = f"pairs need as many candidates as queries; there are {candidates} and {queries}"
                raise InvalidOption(msg, field="candidates")
        elif queries * (candidates or queries) > settings.max_scores:
            msg = (
                f"{queries} × {candidates or queries} scores; this server gives up to {settings.max_scores} in one call"
            )
            raise InvalidOption(msg, field="candidates" if candidates else "queries")
        check_count(queries + candidates, settings.max_texts, "candidates")
        if (wanted == pb2.SIMILARITY_MODE_TOP_K) != bool(request.top_k):
            msg = "top_k goes with SIMILARITY_MODE_TOP_K, and must be at least 1 there"
            raise InvalidOption(msg, field="top_k")
        if request.candidate_prompt_name and not candidates:
            msg = "there are no candidates for this prompt: the queries are compared with themselves"
            raise InvalidOption(msg, field="candidate_prompt_name")


def _check_dimensions(dimensions: int, info: ModelInfo) -> None:
    try:
        OutputOptions(dimensions=dimensions).check(info)
    except UnsupportedDimensions as error:
        error.field = "dimensions"
        raise


def _cost(queries: int, candidates: int, dimensions: int, wanted: int) -> int:
    """How much work the scoring is, in the terms of `Encoding.finish`."""
    pairs = queries if wanted == pb2.SIMILARITY_MODE_PAIRWISE else queries * (candidates or queries)
    return pairs * dimensions // 16
