"""EmbeddingService.Encode: a batch of texts in, one vector each out. Its streaming form is in `stream`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from munjang.encoder.postprocess import OutputOptions, packed
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import error_reason_pb2
from munjang.vectors import Precision
from munjang_server.encoding import Texts, Vectors
from munjang_server.options import PRECISION_NUMBERS, cuts, output_options
from munjang_server.parsing import Parser
from munjang_server.validation import check_count, raise_first

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from munjang.encoder.contract import ModelInfo
    from munjang.errors import MunjangError
    from munjang_server.batching.contract import Lane
    from munjang_server.call import Call
    from munjang_server.encoding import Encoding

SERVICE = pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an Encode reply is made of."""

    version: int
    info: ModelInfo
    options: OutputOptions
    vectors: Vectors

    @property
    def dimensions(self) -> int:
        """Components of one vector of the reply."""
        return self.options.dimensions or self.info.dimensions

    def fill(self, reply: pb2.EncodeResponse) -> None:
        """Write the reply; packs the vectors."""
        scale = self.info.int8_scale if self.options.precision is Precision.INT8 else 0.0
        reply.version = self.version
        reply.vectors.count = len(self.vectors.rows)
        reply.vectors.dimensions = self.dimensions
        reply.vectors.precision = PRECISION_NUMBERS[self.options.precision]
        reply.vectors.data = packed(self.vectors.rows, self.options, self.info)
        reply.vectors.scale = scale
        reply.token_counts.extend(self.vectors.tokenized.counts())
        reply.truncated.extend(self.vectors.tokenized.cut())
        for index in sorted(self.vectors.faults):
            error = self.vectors.faults[index]
            reason = error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason}")
            reply.errors.add(index=index, reason=reason, message=str(error))

    def serialize(self) -> bytes:
        """The reply as bytes."""
        reply = pb2.EncodeResponse()
        self.fill(reply)
        return reply.SerializeToString()


class Encode:
    """Serves Encode requests."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._parser = Parser(pb2.EncodeRequest, encoding.settings.max_message_bytes)

    async def __call__(self, raw: bytes, call: Call) -> bytes:
        """Answer one call."""
        request, faults = self._parser.salvage(raw)
        lane = self._encoding.lane(len(request.texts))
        return await self.answer(request, faults, call, lane, Encoded.serialize)

    async def answer(
        self,
        request: pb2.EncodeRequest,
        unreadable: Mapping[int, MunjangError],
        call: Call,
        lane: Lane,
        serialize: Callable[[Encoded], bytes],
    ) -> bytes:
        """Answer one request, its `unreadable` texts known by index.

        Raises:
            MunjangError: it is refused or failed.
        """
        texts = list(request.texts)
        call.texts = len(texts)
        encoding, wanted, salvage = self._encoding, request.options, request.partial_results
        check_count(len(texts), encoding.settings.max_texts, "texts")
        options = output_options(wanted)
        cut = cuts(wanted.truncation, "options.truncation")
        call.caller.charge(texts=len(texts))
        with encoding.lease(wanted.version, "options.version", call) as lease:
            options.check(lease.encoder.info)
            source = Texts("texts", texts, wanted.prompt_name, "options.prompt_name", unreadable)
            tokenized = await encoding.tokenize(call, lease, source, lane, cut=cut, partial=salvage)
            [vectors] = await encoding.encode(call, lease, [tokenized], lane)
            if not salvage:
                raise_first(vectors.faults)
            result = Encoded(lease.version, lease.encoder.info, options, vectors)
            return await encoding.finish(call, lease, vectors.rows.size, partial(serialize, result))
