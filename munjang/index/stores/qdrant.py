"""Qdrant: a server, or its client's own local mode in a folder, which searches exactly and belongs to one process.

float32 and float16 are kept as such, int8 as float16, which has every int8 value; Qdrant has no vectors of bits. A
point's id is made of the row's, which is in the payload. For the cosine Qdrant scales vectors to length 1. Searches of
a server visit EF_SEARCH candidates of its HNSW index.
"""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from munjang.errors import ConfigurationError, StoreUnavailable
from munjang.index.layout import Hit, Mark, Rows, row_key
from munjang.index.sink import RECORDS, SCAN_ROWS
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.index.address import Address
    from munjang.index.layout import Layout

EF_SEARCH = 256
"""Candidates that a search of a server keeps."""

BATCH = 1024
"""Points of one call."""

SECONDS = 60

ROW_ID = "id"
VERSION = "version"
CONTENT_HASH = "content_hash"

_DISTANCES = {
    "cosine": models.Distance.COSINE,
    "dot": models.Distance.DOT,
    "euclidean": models.Distance.EUCLID,
    "manhattan": models.Distance.MANHATTAN,
}


def open_store(address: Address) -> Qdrant:
    """Connect to a server, or open a folder.

    Raises:
        StoreUnavailable: the server does not answer, or another process has the folder open.
    """
    return Qdrant(address)


class Qdrant:
    """The sink of one server or folder."""

    def __init__(self, address: Address) -> None:
        self._local = address.embedded
        with _answering():
            if address.embedded:
                Path(address.location).mkdir(parents=True, exist_ok=True)
                self._client = QdrantClient(path=address.location, force_disable_check_same_thread=True)
            else:
                scheme, _, rest = address.location.partition("://")
                url = f"{'https' if scheme.endswith('+https') else 'http'}://{rest}"
                self._client = QdrantClient(url=url, timeout=SECONDS, check_compatibility=False)
            if not self._client.collection_exists(RECORDS):
                self._make(RECORDS, models.VectorParams(size=1, distance=models.Distance.DOT))

    def _make(self, name: str, params: models.VectorParams) -> None:
        try:
            self._client.create_collection(name, vectors_config=params)
        except (UnexpectedResponse, ValueError):
            if not self._client.collection_exists(name):  # another process may have made it meanwhile
                raise

    def supports(self, layout: Layout) -> str:
        """See `Sink`."""
        return "Qdrant has no vectors of bits" if layout.precision is Precision.UBINARY else ""

    def create(self, table: str, layout: Layout) -> None:
        """See `Sink`."""
        kind = models.Datatype.FLOAT32 if layout.precision is Precision.FLOAT32 else models.Datatype.FLOAT16
        params = models.VectorParams(
            size=layout.dimensions, distance=_DISTANCES[layout.similarity], datatype=kind, on_disk=None
        )
        with _answering():
            if not self._client.collection_exists(table):
                self._make(table, params)

    def upsert(self, table: str, layout: Layout, rows: Rows) -> None:
        """See `Sink`: a call per BATCH rows."""
        vectors = rows.vectors.astype(np.float32)
        names = layout.column_names
        with _answering():
            for start in range(0, len(rows), BATCH):
                points = [
                    models.PointStruct(
                        id=row_key(rows.ids[place]),
                        vector=vectors[place].tolist(),
                        payload={name: rows.columns[name][place] for name in names}
                        | {ROW_ID: rows.ids[place], VERSION: rows.versions[place], CONTENT_HASH: rows.hashes[place]},
                    )
                    for place in range(start, min(start + BATCH, len(rows)))
                ]
                self._client.upsert(table, points, wait=True)

    def finish(self, table: str, layout: Layout) -> None:
        """See `Sink`: Qdrant makes its HNSW index by itself; until then it searches exactly."""

    def count(self, table: str) -> int:
        """See `Sink`."""
        with _answering():
            return self._client.count(table, exact=True).count

    def delete(self, table: str, ids: Sequence[Any]) -> None:
        """See `Sink`."""
        with _answering():
            self._client.delete(table, models.PointIdsList(points=[row_key(one) for one in ids]), wait=True)

    def marks(self, table: str, layout: Layout) -> Iterator[list[Mark]]:  # noqa: ARG002 - the payload is always so
        """See `Sink`."""
        place: Any = None
        while True:
            with _answering():
                found, place = self._client.scroll(
                    table, limit=SCAN_ROWS, offset=place, with_payload=[ROW_ID, VERSION, CONTENT_HASH]
                )
            payloads = [point.payload or {} for point in found]
            yield [Mark(one[ROW_ID], one[CONTENT_HASH], one[VERSION]) for one in payloads]
            if place is None:
                return

    def fetch(self, table: str, layout: Layout, ids: Sequence[Any]) -> Rows:
        """See `Sink`."""
        with _answering():
            found = self._client.retrieve(table, [row_key(one) for one in ids], with_payload=True, with_vectors=True)
        payloads = [point.payload or {} for point in found]
        vectors = np.array([point.vector for point in found], np.float32).reshape(len(found), layout.dimensions)
        if layout.precision is Precision.INT8 and layout.similarity == "cosine":
            vectors = _restored(vectors)
        return Rows(
            ids=[one[ROW_ID] for one in payloads],
            vectors=vectors.astype(layout.dtype),
            versions=[one[VERSION] for one in payloads],
            hashes=[one[CONTENT_HASH] for one in payloads],
            columns={name: [one.get(name) for one in payloads] for name in layout.column_names},
        )

    def search(self, table: str, layout: Layout, queries: NDArray[Any], k: int) -> list[list[Hit]]:
        """See `Sink`."""
        params = models.SearchParams(hnsw_ef=max(EF_SEARCH, 2 * k))
        requests = [
            models.QueryRequest(query=vector.tolist(), limit=k, with_payload=True, params=params)
            for vector in queries.astype(np.float32)
        ]
        with _answering():
            answers = self._client.query_batch_points(table, requests)
        return [[_hit(point, layout) for point in answer.points] for answer in answers]

    def switch(self, name: str, table: str, layout: Layout) -> None:  # noqa: ARG002 - an alias is one whatever it holds
        """See `Sink`: one atomic change of aliases. The local mode has aliases for the life of a process only."""
        remove = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))
        add = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=table, alias_name=name))
        with _answering():
            there = any(one.alias_name == name for one in self._client.get_aliases().aliases)
            self._client.update_collection_aliases([remove, add] if there else [add])

    def drop(self, table: str) -> None:
        """See `Sink`."""
        with _answering():
            self._client.delete_collection(table)

    def put(self, scope: str, key: str, value: dict[str, Any]) -> None:
        """See `Sink`."""
        payload = {"scope": scope, "key": key, "value": json.dumps(value)}
        point = models.PointStruct(id=row_key(f"{scope}\0{key}"), vector=[0.0], payload=payload)
        with _answering():
            self._client.upsert(RECORDS, [point], wait=True)

    def records(self, scope: str) -> dict[str, dict[str, Any]]:
        """See `Sink`."""
        found: dict[str, dict[str, Any]] = {}
        place: Any = None
        while True:
            with _answering():
                points, place = self._client.scroll(RECORDS, _of_scope(scope), limit=SCAN_ROWS, offset=place)
            for point in points:
                payload = point.payload or {}
                found[payload["key"]] = json.loads(payload["value"])
            if place is None:
                return found

    def forget(self, scope: str) -> None:
        """See `Sink`."""
        with _answering():
            self._client.delete(RECORDS, models.FilterSelector(filter=_of_scope(scope)), wait=True)

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()


@contextmanager
def _answering() -> Iterator[None]:
    """Tell of a store that is away, and of what it refuses, in munjang's errors."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Local mode")  # the pages say when it is
            yield
    except (ResponseHandlingException, RuntimeError, OSError) as error:
        msg = f"Qdrant does not answer: {error}"
        raise StoreUnavailable(msg) from error
    except UnexpectedResponse as error:
        msg = f"Qdrant refuses it: {error}"
        raise ConfigurationError(msg, field="url") from error


def _of_scope(scope: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="scope", match=models.MatchValue(value=scope))])


def _restored(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """int8 vectors [n, d] that were scaled to length 1, in whole steps again; the direction is kept within rounding."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.asarray(np.rint(vectors / np.where(largest > 0, largest, 1) * 127), np.float32)


def _hit(point: models.ScoredPoint, layout: Layout) -> Hit:
    payload = point.payload or {}
    scale = layout.int8_scale if layout.precision is Precision.INT8 else 1.0
    match layout.similarity:
        case "cosine":
            score = point.score
        case "dot":
            score = point.score * scale * scale
        case _:
            score = -point.score * scale
    columns = {name: payload.get(name) for name in layout.column_names}
    return Hit(payload[ROW_ID], score, payload[VERSION], columns)
