"""A server of munjang's protocol that answers at once with zeros: what is measured on it is gRPC and the client.

python -m tests.bench.speed.peers.null PORT DIMENSIONS
"""

from __future__ import annotations

import asyncio
import sys

import grpc

from munjang.v1 import embedding_service_pb2, embedding_service_pb2_grpc, resources_pb2


class Null(embedding_service_pb2_grpc.EmbeddingServiceServicer):
    """Zeros for every text."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    async def Encode(self, request, context):  # noqa: N802 - gRPC's name and types
        count = len(request.texts)
        vectors = resources_pb2.Vectors(
            count=count,
            dimensions=self._dimensions,
            precision=resources_pb2.PRECISION_FLOAT32,
            data=bytes(4 * count * self._dimensions),
        )
        return embedding_service_pb2.EncodeResponse(version=1, vectors=vectors, token_counts=[1] * count)


async def serve(port: int, dimensions: int) -> None:
    """Serve until ended."""
    server = grpc.aio.server()
    embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server(Null(dimensions), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
