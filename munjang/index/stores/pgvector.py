"""PostgreSQL with pgvector. A table of the database is a table of the index; the name that others read is a view.

float32 is kept as `vector`, float16 and int8 as `halfvec`, which has every int8 value, and bits as `bit`. The index is
HNSW in the similarity's operator class: on the column, or on a `halfvec` of it from 2,001 dimensions on, which pgvector
cannot index otherwise. Searches visit EF_SEARCH candidates.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from pgvector import Bit, HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import sql

from munjang.errors import ConfigurationError, StoreUnavailable
from munjang.index.layout import Hit, Mark, Rows
from munjang.index.sink import RECORDS, SCAN_ROWS
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.index.address import Address
    from munjang.index.layout import Layout

EF_SEARCH = 200
"""Candidates that a search keeps; pgvector's default is 40. `tests.bench.index` measures the recall."""

MAX_HNSW = {"vector": 2000, "halfvec": 4000, "bit": 64000}
"""The most dimensions of an HNSW index by type."""

MAX_COLUMN = {"vector": 16000, "halfvec": 16000, "bit": 64000}
"""The most dimensions that munjang stores by type."""

CLASSES = {
    "cosine": "cosine_ops",
    "dot": "ip_ops",
    "euclidean": "l2_ops",
    "manhattan": "l1_ops",
    "hamming": "hamming_ops",
}
OPERATORS = {"cosine": "<=>", "dot": "<#>", "euclidean": "<->", "manhattan": "<+>", "hamming": "<~>"}
COLUMNS = {"text": "text", "int": "bigint", "float": "double precision", "bool": "boolean"}

CONNECT_SECONDS = 10


def open_store(address: Address) -> PgVector:
    """Connect, and see that the database has pgvector.

    Raises:
        StoreUnavailable: the server does not answer or refuses the user.
        ConfigurationError: the extension is not there and cannot be made.
    """
    return PgVector(address.location)


class PgVector:
    """The sink of one database."""

    def __init__(self, url: str) -> None:
        with _answering():
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("SET client_min_messages = warning")
        if run("SELECT to_regtype('vector')").fetchone() == (None,):
            try:
                run("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.Error as error:
                msg = f"the database has no extension vector (pgvector), and it cannot be made: {_first_line(error)}"
                raise ConfigurationError(msg, field="url") from error
        register_vector(self._connection)
        with self._locked(RECORDS):
            run(
                f"CREATE TABLE IF NOT EXISTS {RECORDS}"
                " (scope text, key text, value jsonb NOT NULL, PRIMARY KEY (scope, key))"
            )

    def supports(self, layout: Layout) -> str:
        """See `Sink`."""
        kind = _type(layout)
        most = MAX_COLUMN[kind]
        return f"pgvector's {kind} has at most {most} dimensions" if layout.dimensions > most else ""

    def create(self, table: str, layout: Layout) -> None:
        """See `Sink`."""
        columns = [
            sql.SQL("id {} PRIMARY KEY").format(sql.SQL("bigint" if layout.id_type == "int" else "text")),
            sql.SQL(f"vector {_type(layout)}({layout.dimensions}) NOT NULL"),
            sql.SQL("version integer NOT NULL"),
            sql.SQL("content_hash text NOT NULL"),
            *(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(COLUMNS[kind])) for name, kind in layout.columns),
        ]
        make = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(sql.Identifier(table), sql.SQL(", ").join(columns))
        with _answering(), self._locked(table):
            self._connection.execute(make)

    def upsert(self, table: str, layout: Layout, rows: Rows) -> None:
        """See `Sink`: all of it is one transaction."""
        names = ["id", "vector", "version", "content_hash", *layout.column_names]
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        types = ["bigint" if layout.id_type == "int" else "text", _type(layout), "integer", "text"]
        types += [COLUMNS[kind] for _, kind in layout.columns]
        update = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in names[1:])
        with _answering(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE TEMP TABLE munjang_rows (LIKE {}) ON COMMIT DROP").format(sql.Identifier(table))
            )
            with cursor.copy(sql.SQL("COPY munjang_rows ({}) FROM STDIN (FORMAT BINARY)").format(listed)) as copy:
                copy.set_types(types)
                carried = [rows.columns[name] for name in layout.column_names]
                vectors = [_value(vector, layout) for vector in rows.vectors]
                for row in zip(rows.ids, vectors, rows.versions, rows.hashes, *carried, strict=True):
                    copy.write_row([*row[:4], *map(_storable, row[4:])])
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {table} ({listed}) SELECT {listed} FROM munjang_rows ORDER BY id"
                    " ON CONFLICT (id) DO UPDATE SET {update}"
                ).format(table=sql.Identifier(table), listed=listed, update=update)
            )

    def finish(self, table: str, layout: Layout) -> None:
        """See `Sink`. Vectors of too many dimensions for an index are searched one by one."""
        column = _indexed(layout)
        if column:
            operators = f"{column[1]}_{CLASSES[_metric(layout)]}"
            make = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw ({} {})").format(
                sql.Identifier(f"{table}_hnsw"), sql.Identifier(table), sql.SQL(f"({column[0]})"), sql.SQL(operators)
            )
            with _answering(), self._locked(table):
                self._connection.execute(make)
        with _answering():
            self._connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))

    def count(self, table: str) -> int:
        """See `Sink`."""
        with _answering():
            found = self._connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            return int(found.fetchall()[0][0])

    def delete(self, table: str, ids: Sequence[Any]) -> None:
        """See `Sink`."""
        with _answering():
            remove = sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(sql.Identifier(table))
            self._connection.execute(remove, [list(ids)])

    def marks(self, table: str, layout: Layout) -> Iterator[list[Mark]]:  # noqa: ARG002 - the columns are always so
        """See `Sink`: of one snapshot."""
        query = sql.SQL("SELECT id, content_hash, version FROM {}").format(sql.Identifier(table))
        with _answering(), self._connection.transaction(), self._connection.cursor("munjang_marks") as cursor:
            cursor.execute(query)
            while found := cursor.fetchmany(SCAN_ROWS):
                yield [Mark(*row) for row in found]

    def fetch(self, table: str, layout: Layout, ids: Sequence[Any]) -> Rows:
        """See `Sink`."""
        vector = "vector::text" if layout.precision is Precision.UBINARY else "vector"
        names: list[sql.Composable] = [sql.SQL("id"), sql.SQL(vector), sql.SQL("version"), sql.SQL("content_hash")]
        names += [sql.Identifier(name) for name in layout.column_names]
        query = sql.SQL("SELECT {} FROM {} WHERE id = ANY(%s)").format(sql.SQL(", ").join(names), sql.Identifier(table))
        with _answering():
            found = self._connection.execute(query, [list(ids)]).fetchall()
        vectors = [_array(row[1], layout) for row in found]
        return Rows(
            ids=[row[0] for row in found],
            vectors=np.array(vectors, layout.dtype).reshape(len(found), layout.width),
            versions=[row[2] for row in found],
            hashes=[row[3] for row in found],
            columns={name: [row[place] for row in found] for place, name in enumerate(layout.column_names, 4)},
        )

    def search(self, table: str, layout: Layout, queries: NDArray[Any], k: int) -> list[list[Hit]]:
        """See `Sink`."""
        kind = _type(layout)
        expression, kind = _indexed(layout) or ("vector", kind)
        operator = OPERATORS[_metric(layout)]
        template = sql.SQL(
            "SELECT id, {distance} AS distance, version{columns} FROM {table} ORDER BY {distance} LIMIT {k}"
        )
        query = template.format(
            distance=sql.SQL(f"{expression} {operator} %s::{kind}({layout.dimensions})"),
            columns=sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(name)) for name in layout.column_names),
            table=sql.Identifier(table),
            k=sql.Literal(k),
        )
        with _answering(), self._connection.transaction():
            self._connection.execute(f"SET LOCAL hnsw.ef_search = {min(1000, max(EF_SEARCH, 2 * k))}")
            self._connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            return [self._hits(query, _value(vector, layout, kind), layout) for vector in queries]

    def _hits(self, query: sql.Composed, vector: object, layout: Layout) -> list[Hit]:
        found = self._connection.execute(query, [vector, vector]).fetchall()
        names = layout.column_names
        return [
            Hit(row[0], _score(float(row[1]), layout), row[2], dict(zip(names, row[3:], strict=True))) for row in found
        ]

    def switch(self, name: str, table: str, layout: Layout) -> None:
        """See `Sink`: replaces the view in one transaction. Its column `space_id` names the table's space."""
        with _answering(), self._locked(name):
            run = self._connection.execute
            run(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))
            run(
                sql.SQL("CREATE VIEW {} AS SELECT *, {}::text AS space_id FROM {}").format(
                    sql.Identifier(name), sql.Literal(layout.space_id), sql.Identifier(table)
                )
            )

    def drop(self, table: str) -> None:
        """See `Sink`."""
        with _answering():
            self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table)))

    def put(self, scope: str, key: str, value: dict[str, Any]) -> None:
        """See `Sink`."""
        with _answering():
            self._connection.execute(
                f"INSERT INTO {RECORDS} VALUES (%s, %s, %s) ON CONFLICT (scope, key) DO UPDATE SET value = EXCLUDED.value",  # noqa: S608, E501 - our own name
                [scope, key, json.dumps(value)],
            )

    def records(self, scope: str) -> dict[str, dict[str, Any]]:
        """See `Sink`."""
        with _answering():
            found = self._connection.execute(f"SELECT key, value FROM {RECORDS} WHERE scope = %s", [scope])  # noqa: S608 - our own name
            return {str(key): value for key, value in found.fetchall()}

    def forget(self, scope: str) -> None:
        """See `Sink`."""
        with _answering():
            self._connection.execute(f"DELETE FROM {RECORDS} WHERE scope = %s", [scope])  # noqa: S608 - our own name

    def close(self) -> None:
        """See `Sink`."""
        self._connection.close()

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """A transaction that holds the lock on a name: making the same thing twice at once is an error otherwise."""
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"munjang {name}"])
            yield


@contextmanager
def _answering() -> Iterator[None]:
    """Tell of a server that is away, and of what it refuses, in munjang's errors."""
    try:
        yield
    except psycopg.OperationalError as error:
        msg = f"PostgreSQL does not answer: {_first_line(error)}"
        raise StoreUnavailable(msg) from error
    except psycopg.Error as error:
        msg = f"PostgreSQL refuses it: {_first_line(error)}"
        raise ConfigurationError(msg, field="url") from error


def _storable(value: Any) -> Any:
    """A carried value without null characters, which PostgreSQL's texts cannot hold."""
    return value.replace("\0", "") if isinstance(value, str) else value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _type(layout: Layout) -> str:
    """The type of the column of vectors."""
    kinds = {Precision.FLOAT32: "vector", Precision.UBINARY: "bit"}
    return kinds.get(layout.precision, "halfvec")


def _metric(layout: Layout) -> str:
    return "hamming" if layout.precision is Precision.UBINARY else layout.similarity


def _indexed(layout: Layout) -> tuple[str, str] | None:
    """The expression that is indexed and its type; None where pgvector can index none."""
    kind = _type(layout)
    if layout.dimensions <= MAX_HNSW[kind]:
        return "vector", kind
    if kind == "vector" and layout.dimensions <= MAX_HNSW["halfvec"]:
        return f"vector::halfvec({layout.dimensions})", "halfvec"
    return None


def _value(vector: NDArray[Any], layout: Layout, kind: str = "") -> Vector | HalfVector | Bit:
    """A vector [width] as the client library sends it."""
    match kind or _type(layout):
        case "bit":
            return Bit(np.unpackbits(vector)[: layout.dimensions].astype(bool))
        case "halfvec":
            return HalfVector(vector)
        case _:
            return Vector(vector)


def _array(value: Any, layout: Layout) -> NDArray[Any]:
    """A vector [width] as the client library reads it."""
    if isinstance(value, str):
        return np.packbits(np.frombuffer(value.encode(), np.uint8) == ord("1"))
    return np.asarray(value if isinstance(value, np.ndarray) else value.to_numpy()).astype(layout.dtype)


def _score(distance: float, layout: Layout) -> float:
    """The model's similarity of a distance of pgvector's."""
    scale = layout.int8_scale if layout.precision is Precision.INT8 else 1.0
    match _metric(layout):
        case "cosine":
            return 1 - distance
        case "dot":
            return -distance * scale * scale
        case "hamming":
            return 1 - 2 * distance / layout.dimensions
        case _:
            return -distance * scale
