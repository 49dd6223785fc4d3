"""Section `stream`: a client that sends a million texts as fast as it may and reads slowly; the server's memory.

The model is one that answers at once (`hurt`, order `instant`), since the starter would take an hour; tokenising,
batching, packing and gRPC are the real ones.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc

from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import embedding_service_pb2_grpc
from tests.bench.serving.orders import hurt
from tests.bench.serving.serving import MemoryWatch
from tests.bench.speed import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

BATCH = 256
TEXTS, QUICK_TEXTS = 1_000_000, 100_000
WARM_MESSAGES = 100
SLOWER = 1.5
"""The client pauses between two replies this many times as long as one takes without a pause."""

STILL_SECONDS = 3.0
"""So long the client reads nothing at all, at first."""


class Sender:
    """The messages of one stream, made as gRPC asks for them.

    Attributes:
        sent: how many it has asked for.
    """

    def __init__(self, some: list[str], count: int) -> None:
        self._request = pb2.EncodeRequest(texts=texts.take(some, BATCH))
        self._count = count
        self.sent = 0

    def __iter__(self) -> Iterator[pb2.EncodeStreamRequest]:
        for self.sent in range(1, self._count + 1):  # noqa: B020 - counted where all may see it
            yield pb2.EncodeStreamRequest(id=str(self.sent), request=self._request)


def measure(context: Context) -> dict[str, Any]:
    """Resident memory before, at most and after; how many messages were sent and not read, at most."""
    messages = (QUICK_TEXTS if context.quick else TEXTS) // BATCH
    with hurt(context) as (server, orders):
        orders.give("instant")
        warm = _read(server, Sender(context.texts, WARM_MESSAGES), 0.0, 0.0)
        pause = SLOWER * warm["seconds"] / WARM_MESSAGES
        with MemoryWatch(server) as memory:
            slow = _read(server, Sender(context.texts, messages), pause, STILL_SECONDS)
    return {
        "texts": messages * BATCH,
        "batch": BATCH,
        "fast_texts_per_second": WARM_MESSAGES * BATCH / warm["seconds"],
        "slow_texts_per_second": messages * BATCH / slow["seconds"],
        "failed_messages": slow["failed"],
        "most_unread_messages": slow["most_unread"],
        "memory": memory.json(),
        "memory_growth": memory.highest / memory.first - 1,
    }


def _read(server: Serving, sender: Sender, pause: float, still: float) -> dict[str, Any]:
    """Read every reply, `pause` seconds apart, after `still` seconds in which none is read."""
    read = failed = most = 0
    begun = time.monotonic()
    with grpc.insecure_channel(server.target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        replies = embedding_service_pb2_grpc.EmbeddingServiceStub(channel).EncodeStream(iter(sender))
        time.sleep(still)
        for reply in replies:
            most = max(most, sender.sent - read)
            read += 1
            failed += reply.HasField("error")
            time.sleep(pause)
    return {"seconds": time.monotonic() - begun - still, "failed": failed, "most_unread": most}
