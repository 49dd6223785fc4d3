"""What a table of an index holds: the layout that is written beside it, its name, and rows as they cross the sinks."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from munjang.errors import ConfigurationError, SpaceMismatch
from munjang.normalization import nfc
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""The name of an index: every store takes it, and its tables' names stay below PostgreSQL's 63 bytes."""

SPACE_CHARS = 12
"""How much of a space id is in a table's name: 48 bits tell the spaces of one index apart; the layout has all of it."""

RESERVED = frozenset({"id", "vector", "version", "content_hash", "space_id", "munjang_key"})
"""Columns that every table has."""

_KEYS = uuid.UUID("6d756e6a-616e-4700-8000-000000000000")

COLUMN_TYPES = ("text", "int", "float", "bool")

TEXT_CHARS = 32
"""How much of a content hash tells of the text."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the vectors of one table are. Two sets of rows fit into one table only if all of it is the same.

    Attributes:
        space_id: the space of every vector.
        dimensions: components of a vector.
        cut: whether the model has more, and these are the first (Matryoshka).
        precision: their number format as the job or the server gave it: float32, float16, int8 or ubinary.
        similarity: the model's function: cosine, dot, euclidean or manhattan.
        normalized: whether the vectors were scaled to length 1.
        int8_scale: the value of one int8 step; 0 for other precisions.
        role: what the texts were said to be for; "" is nothing.
        prompt_name: the prompt that was asked for by name; "" is none.
        prompt: the prompt that was asked for by its text; None is none.
        truncation: "end" or "none".
        id_type: "int" or "str".
        columns: the carried columns and their types, of COLUMN_TYPES, in order.
        text_column: the carried column that holds the texts; "" where the table does not keep them.
    """

    space_id: str
    dimensions: int
    cut: bool = False
    precision: Precision = Precision.FLOAT32
    similarity: str = "cosine"
    normalized: bool = True
    int8_scale: float = 0.0
    role: str = ""
    prompt_name: str = ""
    prompt: str | None = None
    truncation: str = "end"
    id_type: str = "str"
    columns: tuple[tuple[str, str], ...] = ()
    text_column: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As a store keeps it."""
        return asdict(self) | {"precision": str(self.precision), "columns": [list(one) for one in self.columns]}

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> Self:
        """As a store kept it."""
        columns = tuple((str(name), str(kind)) for name, kind in found["columns"])
        return cls(**{**found, "precision": Precision(found["precision"]), "columns": columns})

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the carried columns."""
        return tuple(name for name, _ in self.columns)

    @property
    def width(self) -> int:
        """The second dimension of arrays of these vectors: bytes for bits, else components."""
        return (self.dimensions + 7) // 8 if self.precision is Precision.UBINARY else self.dimensions

    @property
    def dtype(self) -> str:
        """The numpy type of arrays of these vectors."""
        types = {Precision.FLOAT32: "<f4", Precision.FLOAT16: "<f2", Precision.INT8: "|i1", Precision.UBINARY: "|u1"}
        return types[self.precision]

    def require_same(self, other: Layout, table: str) -> None:
        """Refuse rows that do not fit into a table of this layout.

        Raises:
            SpaceMismatch: they are of another space, or made or described in another way; the message says how.
        """
        ours, theirs = self.as_dict(), other.as_dict()
        for name, value in ours.items():
            if theirs[name] != value:
                msg = f"table {table} holds vectors of {name} {value!r}, and these rows have {theirs[name]!r}"
                raise SpaceMismatch(msg, field=name)


@dataclass(slots=True)
class Rows:
    """Rows of one table.

    Attributes:
        ids: unique; all int or all str.
        vectors: [n, layout.width] of `layout.dtype`.
        versions: the model version that made each vector.
        hashes: `content_hash` of each row.
        columns: the values of each carried column: str, int, float, bool or None.
    """

    ids: list[Any]
    vectors: NDArray[Any]
    versions: list[int]
    hashes: list[str]
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def take(self, places: Sequence[int]) -> Rows:
        """The rows at some places."""
        return Rows(
            ids=[self.ids[place] for place in places],
            vectors=self.vectors[list(places)],
            versions=[self.versions[place] for place in places],
            hashes=[self.hashes[place] for place in places],
            columns={name: [values[place] for place in places] for name, values in self.columns.items()},
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells whether a row of a table is up to date: its id, its `content_hash` and the version of its vector."""

    id: Any
    content_hash: str
    version: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that a search found.

    `score` is the model's similarity, and higher is nearer; for bits it is 1 − 2 · the share of bits that differ.
    """

    id: Any
    score: float
    version: int
    columns: dict[str, Any]


def check_name(name: str) -> str:
    """A name of an index that every store takes.

    Raises:
        ConfigurationError: it is not.
    """
    if not NAME_PATTERN.fullmatch(name) or "__" in name:
        msg = (
            f"{name!r} cannot name an index: take lower-case letters, digits and single underscores, a letter first, at"
            " most 40"
        )
        raise ConfigurationError(msg, field="name")
    return name


def table_name(name: str, space_id: str) -> str:
    """The table of an index for one space."""
    return f"{name}__{space_id[:SPACE_CHARS]}"


def text_hash(text: str | None) -> str:
    """What identifies a text in an index: 32 characters of the sha256 of its NFC form; dashes where it is not known."""
    return "-" * TEXT_CHARS if text is None else _digest(nfc(text))[:TEXT_CHARS]


def content_hash(text: str | None, values: Sequence[Any]) -> str:
    """What identifies a row's content: `text_hash`, then 16 characters of the sha256 of its carried columns' values.

    Rows whose first parts are equal have equal vectors; rows that are equal in all of it need not be written again.
    """
    return text_hash(text) + _digest(json.dumps(list(values), ensure_ascii=False))[:16]


def as_text(value: object) -> str:
    """A value of a carried column that is no text, number or boolean: ISO 8601 of dates and times, else JSON."""
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if isoformat else json.dumps(value, ensure_ascii=False, default=str)


def row_key(row_id: object) -> str:
    """A UUID made of a row's id, for stores whose own keys cannot be every number and every text."""
    return str(uuid.uuid5(_KEYS, f"{type(row_id).__name__} {row_id}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def to_float(vectors: NDArray[Any], layout: Layout) -> NDArray[np.float32]:
    """Vectors of a layout as float32 [n, d]: int8 times its scale, bits as −1 and 1."""
    if layout.precision is Precision.UBINARY:
        bits = np.unpackbits(vectors, axis=1)[:, : layout.dimensions]
        return np.where(bits, np.float32(1), np.float32(-1))
    found: NDArray[np.float32] = vectors.astype(np.float32)
    return found * np.float32(layout.int8_scale) if layout.precision is Precision.INT8 else found


def agree(kept: NDArray[Any], given: NDArray[Any], layout: Layout, least: float = 0.9999) -> NDArray[np.bool_]:
    """Whether each vector [n, width] of a store is the one that was given, whatever length the store has given it.

    The cosine of the two is at least `least`; for bits all must be equal. A zero vector agrees with a zero vector.
    """
    if layout.precision is Precision.UBINARY:
        return np.asarray((kept == given).all(axis=1))
    one, two = (to_float(vectors, layout).astype(np.float64) for vectors in (kept, given))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.vecdot(one, two) / lengths
    return np.asarray(np.where(lengths > 0, cosine >= least, (one == two).all(axis=1)), bool)
