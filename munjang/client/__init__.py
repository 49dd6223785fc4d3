"""The client library: `Client` and `AsyncClient`, numpy arrays out. Needs no torch and no server code.

from munjang.client import Client

with Client("127.0.0.1:50051") as client:
    print(client.similarity(["남자가 드럼을 쳤다.", "남자가 음악을 연주하고 있다."]).scores)
"""

from munjang.client.async_client import AsyncClient
from munjang.client.results import AliasInfo, Embeddings, RankedDocument, Ranking, Scores, StreamBatch, VersionInfo
from munjang.client.retry import RetryPolicy
from munjang.client.sync_client import Client

__all__ = [
    "AliasInfo",
    "AsyncClient",
    "Client",
    "Embeddings",
    "RankedDocument",
    "Ranking",
    "RetryPolicy",
    "Scores",
    "StreamBatch",
    "VersionInfo",
]
