"""The results that the client returns: frozen records with numpy arrays, and how they are read from reply messages."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.client.grpc_errors import from_text_error, shift_index
from munjang.errors import InternalError
from munjang.kinds import ModelKind
from munjang.v1 import embedding_service_pb2, resources_pb2
from munjang.vectors import Precision, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import DTypeLike, NDArray

    from munjang.client.requests import Part
    from munjang.errors import MunjangError
    from munjang.v1 import model_service_pb2, rerank_service_pb2


class _Comparable:
    """Equality of records that hold arrays: by type, then field by field, arrays as a whole."""

    __hash__ = None  # type: ignore[assignment]  # arrays have none either

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal."""
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))  # type: ignore[arg-type]  # a dataclass
        return all(
            mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
            if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray)
            else mine is theirs or bool(mine == theirs)
            for mine, theirs in pairs
        )


_KINDS = {resources_pb2.ModelKind.Value(f"MODEL_KIND_{kind.name}"): str(kind) for kind in ModelKind}


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings(_Comparable):
    """The vectors of some texts, all made by one model version.

    Attributes:
        vectors: one row per text, in the order of the texts. float32 [n, d] for float32 and bfloat16, float16 [n, d],
            int8 [n, d], or uint8 [n, ceil(d / 8)] for ubinary. May be read-only.
        version: the number of the model version that made them.
        dimensions: d, which the shape of packed bits does not show.
        token_counts: uint32 [n], the tokens that the model read of each text.
        truncated: the indices of the texts that were cut at the model's limit, ascending.
        errors: with `partial_results`, why texts have a row of zeros; each has its `index`, ascending.
        scale: the value of one int8 step; 0 for the other precisions.
        space_id: of that version: vectors of equal ids may be compared, whatever the versions are called.
    """

    vectors: NDArray[Any]
    version: int
    dimensions: int
    token_counts: NDArray[np.uint32]
    truncated: tuple[int, ...] = ()
    errors: tuple[MunjangError, ...] = ()
    scale: float = 0.0
    space_id: str = ""

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.vectors)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The vectors, one by one."""
        return iter(self.vectors)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """The vectors where numpy wants an array: `np.asarray(found)`, `np.matmul(found, query)`."""
        return np.array(self.vectors, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        """What they are, without the numbers."""
        bits = self.vectors.dtype == np.uint8
        parts = [f"{len(self)} × {self.dimensions} {'bits' if bits else self.vectors.dtype}", f"version={self.version}"]
        parts += [f"space_id={self.space_id!r}"] if self.space_id else []
        parts += [f"{name}={len(found)}" for name in ("truncated", "errors") if (found := getattr(self, name))]
        return f"Embeddings({', '.join(parts)})"


@dataclass(frozen=True)
class StreamBatch:
    """The answer to one batch of a stream: embeddings, or the error of this batch alone.

    Attributes:
        id: the caller's own name of the batch, or the position of its first text where plain texts were streamed.
        texts: the texts of the batch.
        embeddings: their vectors, or None if there is an `error`.
        error: why there are none, or None.
    """

    id: Any
    texts: tuple[str, ...]
    embeddings: Embeddings | None
    error: MunjangError | None = None

    def result(self) -> Embeddings:
        """The embeddings.

        Raises:
            MunjangError: the error of this batch.
        """
        if self.embeddings is not None:
            return self.embeddings
        assert self.error is not None  # noqa: S101 - one of the two is always set
        raise self.error


@dataclass(frozen=True, eq=False)
class Scores(_Comparable):
    """Scores of queries against candidates, all made by one model version; higher means more similar.

    Attributes:
        scores: float32 [queries, candidates] for matrix, [pairs] for pairwise, [queries, k] for top_k, best first.
        version: the number of the model version.
        function: the model's similarity function: cosine, dot, euclidean or manhattan.
        indices: int64 [queries, k], the candidates that top_k kept; None for the other modes.
        query_token_counts: uint32 [queries].
        candidate_token_counts: uint32 [candidates]; empty where no candidates were given.
        truncated_queries: the indices of the queries that were cut.
        truncated_candidates: the indices of the candidates that were cut.
        space_id: of the version.
    """

    scores: NDArray[np.float32]
    version: int
    function: str
    indices: NDArray[np.int64] | None
    query_token_counts: NDArray[np.uint32]
    candidate_token_counts: NDArray[np.uint32]
    truncated_queries: tuple[int, ...] = ()
    truncated_candidates: tuple[int, ...] = ()
    space_id: str = ""


@dataclass(frozen=True)
class RankedDocument:
    """One document's place in an order: its index in the list that was given, and its score; higher is better."""

    index: int
    score: float


@dataclass(frozen=True, eq=False)
class Ranking(_Comparable):
    """Documents in the order of how well they answer a query, all scored by one model version.

    Attributes:
        results: best first; documents of equal score in the order in which they were given.
        version: the number of the model version.
        space_id: of the version: equal ids mean that scores may be compared.
        token_counts: uint32 [documents], the tokens that the model read of each document and the query together.
        truncated: the indices of the documents that were cut, or whose query was, ascending.
    """

    results: tuple[RankedDocument, ...]
    version: int
    space_id: str
    token_counts: NDArray[np.uint32]
    truncated: tuple[int, ...] = ()

    def __len__(self) -> int:
        """The number of documents that were kept."""
        return len(self.results)


@dataclass(frozen=True)
class VersionInfo:
    """One published model version, as the server that answered sees it.

    Attributes:
        version: its number.
        state: published, loading, warming, available, draining or failed.
        reason: why it failed, in words; empty otherwise.
        aliases: the aliases that name it, sorted.
        dimensions: of a full vector.
        max_tokens: that the model reads of one text.
        function: its similarity function: cosine, dot, euclidean or manhattan.
        prompts: the words put before a text, by prompt name.
        default_prompt: the prompt used where none is named; empty if none is.
        matryoshka_dimensions: that it was trained for, ascending.
        int8_scale: the value of one int8 step; 0 if it has no calibration.
        languages: BCP 47 tags.
        base_model: what it was trained from.
        metrics: of its evaluation, by name.
        created_at: when it was published, in UTC.
        size_bytes: of its files.
        kind: "dense" gives vectors, "cross-encoder" scores of pairs; "" if the server cannot read its manifest.
        space_id: equal for versions whose vectors may be compared, in any registry.
    """

    version: int
    state: str
    reason: str
    aliases: tuple[str, ...]
    dimensions: int
    max_tokens: int
    function: str
    prompts: Mapping[str, str]
    default_prompt: str
    matryoshka_dimensions: tuple[int, ...]
    int8_scale: float
    languages: tuple[str, ...]
    base_model: str
    metrics: Mapping[str, float]
    created_at: datetime
    size_bytes: int
    kind: str
    space_id: str


@dataclass(frozen=True)
class AliasInfo:
    """A name that moves from one version to another.

    Attributes:
        name: such as "stable".
        version: that the registry says it names.
        previous: that it named before, to which a rollback returns; 0 if none.
        serving: that the server answers with now; differs during a swap or after a failed one; 0 if none.
    """

    name: str
    version: int
    previous: int
    serving: int


def read_embeddings(response: embedding_service_pb2.EncodeResponse, part: Part, start: int = 0) -> Embeddings:
    """The embeddings of one call's texts; indices count from `start`.

    Raises:
        InternalError: the reply does not hold one row for each text.
    """
    packed = response.vectors
    if packed.count != len(part.texts) or len(response.token_counts) != len(part.texts):
        msg = f"the server answered {packed.count} vectors for {len(part.texts)} texts"
        raise InternalError(msg)
    precision = Precision[resources_pb2.Precision.Name(packed.precision).removeprefix("PRECISION_")]
    try:
        vectors = unpack(packed.data, packed.count, packed.dimensions, precision)
    except ValueError as error:
        msg = f"the server's vectors are not as it describes them: {error}"
        raise InternalError(msg) from error
    by_index = {failed.index: from_text_error(failed) for failed in response.errors}
    by_index |= part.refused  # the server saw an empty text instead
    return Embeddings(
        vectors=vectors,
        version=response.version,
        dimensions=packed.dimensions,
        token_counts=np.array(response.token_counts, np.uint32),
        truncated=tuple(start + index for index in response.truncated),
        errors=tuple(shift_index(by_index[index], start) for index in sorted(by_index)),
        scale=packed.scale,
        space_id=response.space_id,
    )


def concatenate(pieces: Sequence[Embeddings]) -> Embeddings:
    """The pieces of one list, in order, as one.

    Raises:
        InternalError: they are not of one version and shape.
    """
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if any((piece.version, piece.dimensions) != (first.version, first.dimensions) for piece in pieces):
        msg = f"parts of one list were answered by versions {sorted({piece.version for piece in pieces})}"
        raise InternalError(msg)
    return Embeddings(
        vectors=np.concatenate([piece.vectors for piece in pieces]),
        version=first.version,
        dimensions=first.dimensions,
        token_counts=np.concatenate([piece.token_counts for piece in pieces]),
        truncated=tuple(index for piece in pieces for index in piece.truncated),
        errors=tuple(error for piece in pieces for error in piece.errors),
        scale=first.scale,
        space_id=first.space_id,
    )


def read_scores(
    response: embedding_service_pb2.SimilarityResponse, mode: embedding_service_pb2.SimilarityMode.ValueType
) -> Scores:
    """The scores of a similarity call in `mode`.

    Raises:
        InternalError: the reply does not hold as many scores as it says.
    """
    cells = response.rows * response.columns
    top_k = mode == embedding_service_pb2.SimilarityMode.SIMILARITY_MODE_TOP_K
    if len(response.scores) != 4 * cells or len(response.indices) != (cells if top_k else 0):
        msg = f"the server answered {len(response.scores)} bytes for {response.rows} × {response.columns} scores"
        raise InternalError(msg)
    table = np.frombuffer(response.scores, "<f4").reshape(response.rows, response.columns)
    pairwise = mode == embedding_service_pb2.SimilarityMode.SIMILARITY_MODE_PAIRWISE
    return Scores(
        scores=table.reshape(-1) if pairwise else table,
        version=response.version,
        function=_function(response.similarity_function),
        indices=np.array(response.indices, np.int64).reshape(table.shape) if top_k else None,
        query_token_counts=np.array(response.query_token_counts, np.uint32),
        candidate_token_counts=np.array(response.candidate_token_counts, np.uint32),
        truncated_queries=tuple(response.truncated_queries),
        truncated_candidates=tuple(response.truncated_candidates),
        space_id=response.space_id,
    )


def read_ranking(response: rerank_service_pb2.RerankResponse, documents: int, start: int = 0) -> Ranking:
    """The order of one call's documents; indices count from `start`.

    Raises:
        InternalError: the reply is not about these documents.
    """
    if len(response.token_counts) != documents or any(found.index >= documents for found in response.results):
        msg = f"the server answered about {len(response.token_counts)} documents; {documents} were sent"
        raise InternalError(msg)
    return Ranking(
        results=tuple(RankedDocument(start + found.index, found.score) for found in response.results),
        version=response.version,
        space_id=response.space_id,
        token_counts=np.array(response.token_counts, np.uint32),
        truncated=tuple(start + index for index in response.truncated),
    )


def merge(pieces: Sequence[Ranking], top_n: int) -> Ranking:
    """The pieces of one list as one order, of the first `top_n` documents where that is not 0.

    Raises:
        InternalError: they are not of one version.
    """
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if any(piece.version != first.version for piece in pieces):
        msg = f"parts of one list were answered by versions {sorted({piece.version for piece in pieces})}"
        raise InternalError(msg)
    found = sorted((each for piece in pieces for each in piece.results), key=lambda each: (-each.score, each.index))
    return Ranking(
        results=tuple(found[: top_n or None]),
        version=first.version,
        space_id=first.space_id,
        token_counts=np.concatenate([piece.token_counts for piece in pieces]),
        truncated=tuple(index for piece in pieces for index in piece.truncated),
    )


def read_version(version: resources_pb2.ModelVersion) -> VersionInfo:
    """A version as the caller sees it."""
    return VersionInfo(
        version=version.version,
        state=resources_pb2.VersionState.Name(version.state).removeprefix("VERSION_STATE_").lower(),
        reason=version.reason,
        aliases=tuple(version.aliases),
        dimensions=version.dimensions,
        max_tokens=version.max_tokens,
        function=_function(version.similarity_function),
        prompts=dict(version.prompts),
        default_prompt=version.default_prompt_name,
        matryoshka_dimensions=tuple(version.matryoshka_dimensions),
        int8_scale=version.int8_scale,
        languages=tuple(version.languages),
        base_model=version.base_model,
        metrics=dict(version.metrics),
        created_at=version.created_at.ToDatetime(UTC),
        size_bytes=version.size_bytes,
        kind=_KINDS.get(version.kind, ""),
        space_id=version.space_id,
    )


def read_aliases(aliases: Iterable[model_service_pb2.Alias]) -> dict[str, AliasInfo]:
    """The aliases by name."""
    return {a.name: AliasInfo(a.name, a.version, a.previous, a.serving) for a in aliases}


def _function(value: resources_pb2.SimilarityFunction.ValueType) -> str:
    return resources_pb2.SimilarityFunction.Name(value).removeprefix("SIMILARITY_FUNCTION_").lower()
