"""Milvus, or Milvus Lite in a file, which belongs to one process.

float32, float16 and int8 are kept as FLOAT_VECTOR, the one type that Milvus Lite has; there are no vectors of bits and
no Manhattan distance. The index is HNSW, and a search visits EF_SEARCH candidates. Texts have at most 65,535 bytes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from milvus_lite.server_manager import server_manager_instance
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException, MilvusUnavailableException

from munjang.errors import ConfigurationError, StoreUnavailable
from munjang.index.layout import Hit, Mark, Rows, row_key
from munjang.index.sink import RECORDS, SCAN_ROWS
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.index.address import Address
    from munjang.index.layout import Layout

M = 16
EF_CONSTRUCTION = 200
EF_SEARCH = 200

KEY = "munjang_key"
"""The primary key: `row_key` of the id, since the client writes keys into its queries as they are."""

TEXT_BYTES = 65535
"""The longest text that a field of Milvus holds."""

BATCH = 1000
"""Rows of one call; a message of Milvus has at most 64 MiB."""

MOST_RECORDS = 16384
"""The most rows that one answer of Milvus has; a load of more shards writes some of them again when it is resumed."""

SECONDS = 60

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each error that it raises, with its trace

_METRICS = {"cosine": "COSINE", "dot": "IP", "euclidean": "L2"}
_COLUMNS = {"text": DataType.VARCHAR, "int": DataType.INT64, "float": DataType.DOUBLE, "bool": DataType.BOOL}
_users: Counter[str] = Counter()
"""How many sinks of this process are open on each file: they share a server."""

_NEWEST = "Strong"
"""The consistency of reads: they see all that was written before."""


def open_store(address: Address) -> Milvus:
    """Connect to a server, or open a file.

    Raises:
        StoreUnavailable: the server does not answer, or another process has the file open.
    """
    return Milvus(address)


class Milvus:
    """The sink of one server or file."""

    def __init__(self, address: Address) -> None:
        uri = address.location
        if address.embedded:
            Path(uri).parent.mkdir(parents=True, exist_ok=True)
        else:
            scheme, _, rest = uri.partition("://")
            uri = f"{'https' if scheme.endswith('+https') else 'http'}://{rest}"
        self._file = uri if address.embedded else ""
        with _answering():
            self._client = MilvusClient(uri, timeout=SECONDS)
            if self._file:
                _users[self._file] += 1
            self._open: set[str] = set()
            if not self._client.has_collection(RECORDS):
                self._make(RECORDS, _record_schema(), "L2")

    def _make(self, name: str, schema: Any, metric: str) -> None:
        index = self._client.prepare_index_params()
        index.add_index(
            "vector", index_type="HNSW", metric_type=metric, params={"M": M, "efConstruction": EF_CONSTRUCTION}
        )
        try:
            self._client.create_collection(name, schema=schema, index_params=index, consistency_level=_NEWEST)
        except MilvusException:
            if not self._client.has_collection(name):  # another process may have made it meanwhile
                raise

    def supports(self, layout: Layout) -> str:
        """See `Sink`."""
        if layout.precision is Precision.UBINARY:
            return "Milvus Lite has no vectors of bits"
        return "" if layout.similarity in _METRICS else f"Milvus has no {layout.similarity} distance"

    def create(self, table: str, layout: Layout) -> None:
        """See `Sink`."""
        with _answering():
            if not self._client.has_collection(table):
                self._make(table, _schema(layout), _METRICS[layout.similarity])

    def upsert(self, table: str, layout: Layout, rows: Rows) -> None:
        """See `Sink`: a call per BATCH rows."""
        vectors = rows.vectors.astype(np.float32)
        with _answering():
            for start in range(0, len(rows), BATCH):
                data = [
                    {name: rows.columns[name][place] for name in layout.column_names}
                    | {"id": rows.ids[place], "vector": vectors[place].tolist(), "version": rows.versions[place]}
                    | {"content_hash": rows.hashes[place], KEY: row_key(rows.ids[place])}
                    for place in range(start, min(start + BATCH, len(rows)))
                ]
                self._client.upsert(table, data)

    def finish(self, table: str, layout: Layout) -> None:  # noqa: ARG002 - the schema has the index
        """See `Sink`: sealed, so that Milvus indexes what was written last."""
        with _answering():
            self._client.flush(table)

    def count(self, table: str) -> int:
        """See `Sink`."""
        with _answering():
            found = self._loaded(table).query(table, filter="", output_fields=["count(*)"], consistency_level=_NEWEST)
            return int(found[0]["count(*)"])

    def delete(self, table: str, ids: Sequence[Any]) -> None:
        """See `Sink`."""
        with _answering():
            for start in range(0, len(ids), BATCH):
                self._loaded(table).delete(table, ids=[row_key(one) for one in ids[start : start + BATCH]])

    def marks(self, table: str, layout: Layout) -> Iterator[list[Mark]]:  # noqa: ARG002 - the columns are always so
        """See `Sink`."""
        fields = ["id", "content_hash", "version"]
        with _answering():
            rows = self._loaded(table).query_iterator(
                table, batch_size=SCAN_ROWS, output_fields=fields, consistency_level=_NEWEST
            )
            try:
                while found := rows.next():
                    yield [Mark(row["id"], row["content_hash"], row["version"]) for row in found]
            finally:
                rows.close()

    def fetch(self, table: str, layout: Layout, ids: Sequence[Any]) -> Rows:
        """See `Sink`."""
        found: list[dict[str, Any]] = []
        with _answering():
            for start in range(0, len(ids), BATCH):
                some = [row_key(one) for one in ids[start : start + BATCH]]
                found += self._loaded(table).get(table, some, output_fields=["*"], consistency_level=_NEWEST)
        vectors = np.array([row["vector"] for row in found], np.float32).reshape(len(found), layout.dimensions)
        return Rows(
            ids=[row["id"] for row in found],
            vectors=vectors.astype(layout.dtype),
            versions=[row["version"] for row in found],
            hashes=[row["content_hash"] for row in found],
            columns={name: [row.get(name) for row in found] for name in layout.column_names},
        )

    def search(self, table: str, layout: Layout, queries: NDArray[Any], k: int) -> list[list[Hit]]:
        """See `Sink`."""
        with _answering():
            found = self._loaded(table).search(
                table,
                queries.astype(np.float32).tolist(),
                limit=k,
                output_fields=["id", "version", *layout.column_names],
                search_params={"params": {"ef": max(EF_SEARCH, 2 * k)}},
                consistency_level=_NEWEST,
            )
        return [[_hit(row, layout) for row in rows] for rows in found]

    def switch(self, name: str, table: str, layout: Layout) -> None:  # noqa: ARG002 - an alias is one whatever it holds
        """See `Sink`: one atomic change of an alias."""
        with _answering():
            try:
                self._client.describe_alias(name)
            except MilvusUnavailableException:
                raise
            except MilvusException:
                self._client.create_alias(table, name)
            else:
                self._client.alter_alias(table, name)

    def drop(self, table: str) -> None:
        """See `Sink`."""
        with _answering():
            self._open.discard(table)
            if self._client.has_collection(table):
                self._client.drop_collection(table)

    def put(self, scope: str, key: str, value: dict[str, Any]) -> None:
        """See `Sink`."""
        row = {
            KEY: row_key(f"{scope}\n{key}"),
            "scope": scope,
            "key": key,
            "value": json.dumps(value),
            "vector": [0.0, 0.0],
        }
        with _answering():
            self._client.upsert(RECORDS, [row])

    def records(self, scope: str) -> dict[str, dict[str, Any]]:
        """See `Sink`."""
        with _answering():
            rows = self._loaded(RECORDS).query(
                RECORDS,
                filter=_of_scope(scope),
                output_fields=["key", "value"],
                limit=MOST_RECORDS,
                consistency_level=_NEWEST,
            )
        return {row["key"]: json.loads(row["value"]) for row in rows}

    def forget(self, scope: str) -> None:
        """See `Sink`."""
        with _answering():
            self._loaded(RECORDS).delete(RECORDS, filter=_of_scope(scope))

    def close(self) -> None:
        """See `Sink`: Milvus Lite lets go of its file when the last sink of this process is closed."""
        self._client.close()
        if self._file and _users[self._file]:
            _users[self._file] -= 1
            if not _users[self._file]:
                server_manager_instance.release_server(self._file)

    def _loaded(self, table: str) -> MilvusClient:
        """The client, once a collection is in the memory of the server: it reads no other."""
        if table not in self._open:
            self._client.load_collection(table)
            self._open.add(table)
        return self._client


@contextmanager
def _answering() -> Iterator[None]:
    """Tell of a store that is away, and of what it refuses, in munjang's errors."""
    try:
        yield
    except (MilvusUnavailableException, OSError) as error:
        msg = f"Milvus does not answer: {error}"
        raise StoreUnavailable(msg) from error
    except MilvusException as error:
        if error.message == "Open local milvus failed":
            msg = "Milvus Lite cannot open its file: another process has it open"
            raise StoreUnavailable(msg) from error
        msg = f"Milvus refuses it: {error.message}"
        raise ConfigurationError(msg, field="url") from error


def _schema(layout: Layout) -> Any:
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field(KEY, DataType.VARCHAR, is_primary=True, max_length=64)
    if layout.id_type == "int":
        schema.add_field("id", DataType.INT64)
    else:
        schema.add_field("id", DataType.VARCHAR, max_length=TEXT_BYTES)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=layout.dimensions)
    schema.add_field("version", DataType.INT64)
    schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
    for name, kind in layout.columns:
        limit = {"max_length": TEXT_BYTES} if kind == "text" else {}
        schema.add_field(name, _COLUMNS[kind], nullable=True, **limit)
    return schema


def _record_schema() -> Any:
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field(KEY, DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)  # every collection has one
    for name in ("scope", "key", "value"):
        schema.add_field(name, DataType.VARCHAR, max_length=TEXT_BYTES)
    return schema


def _of_scope(scope: str) -> str:
    return f"scope == {json.dumps(scope)}"


def _hit(row: dict[str, Any], layout: Layout) -> Hit:
    entity, distance = row["entity"], float(row["distance"])
    scale = layout.int8_scale if layout.precision is Precision.INT8 else 1.0
    match layout.similarity:
        case "cosine":
            score = distance
        case "dot":
            score = distance * scale * scale
        case _:  # Milvus's L2 is squared
            score = -(max(distance, 0.0) ** 0.5) * scale
    return Hit(entity["id"], score, entity["version"], {name: entity.get(name) for name in layout.column_names})
