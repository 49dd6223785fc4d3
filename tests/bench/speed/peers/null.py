"""A server of munjang's protocol that answers with zeros: what is measured on it is gRPC and the client.

python -m tests.bench.speed.peers.null PORT DIMENSIONS SECONDS

It waits so many seconds before each answer: after a wait as long as a forward the processor runs gRPC's code slower
than from call to call.
"""

from __future__ import annotations

import asyncio
import sys
import time

import grpc

from munjang.v1 import embedding_service_pb2, embedding_service_pb2_grpc, resources_pb2


class Null(embedding_service_pb2_grpc.EmbeddingServiceServicer):
    """Zeros for every text."""

    def __init__(self, dimensions: int, seconds: float) -> None:
        self._dimensions = dimensions
        self._seconds = seconds

    async def Encode(self, request, context):  # noqa: N802 - gRPC's name and types
        time.sleep(self._seconds)  # noqa: ASYNC251 - one caller at a time, and asyncio's timers are a millisecond wide
        count = len(request.texts)
        vectors = resources_pb2.Vectors(
            count=count,
            dimensions=self._dimensions,
            precision=resources_pb2.PRECISION_FLOAT32,
            data=bytes(4 * count * self._dimensions),
        )
        return embedding_service_pb2.EncodeResponse(version=1, vectors=vectors, token_counts=[1] * count)


async def serve(port: int, dimensions: int, seconds: float) -> None:
    """Serve until ended."""
    server = grpc.aio.server()
    embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server(Null(dimensions, seconds), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
