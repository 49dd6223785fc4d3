"""What the client hands back: frozen records with numpy arrays in them. `replies` reads them off the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from munjang.errors import MunjangError


@dataclass(frozen=True)
class Embeddings:
    """The vectors of some texts, all made by one model version.

    Attributes:
        vectors: one row a text, in the order of the texts. float32 [n, d] for float32 and bfloat16, float16 [n, d],
            int8 [n, d], or uint8 [n, ceil(d / 8)] for ubinary. May be read-only.
        version: the number of the model version that made them.
        dimensions: d, which the shape of packed bits does not tell.
        token_counts: uint32 [n], what the model read of each text.
        truncated: the indices of the texts that were cut at the model's limit, ascending.
        errors: with `partial_results`, why texts have a row of zeros; each has its `index`, ascending.
        scale: the value of one int8 step; 0 for the other precisions.
    """

    vectors: NDArray[Any]
    version: int
    dimensions: int
    token_counts: NDArray[np.uint32]
    truncated: tuple[int, ...] = ()
    errors: tuple[MunjangError, ...] = ()
    scale: float = 0.0

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.vectors)


@dataclass(frozen=True)
class StreamBatch:
    """The answer to one batch of a stream: embeddings, or the error of this batch alone.

    Attributes:
        id: the caller's own name of the batch, or the position of its first text where plain texts were streamed.
        texts: the texts of the batch.
        embeddings: their vectors, or None where `error` stands.
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
        assert self.error is not None  # noqa: S101 - one of the two always stands
        raise self.error


@dataclass(frozen=True)
class Scores:
    """Scores of queries against candidates, all made by one model version; higher is nearer.

    Attributes:
        scores: float32 [queries, candidates] for matrix, [pairs] for pairwise, [queries, k] for top_k, best first.
        version: the number of the model version.
        function: the model's similarity function: cosine, dot, euclidean or manhattan.
        indices: int64 [queries, k], the candidates that top_k kept; None for the other modes.
        query_token_counts: uint32 [queries].
        candidate_token_counts: uint32 [candidates]; empty where no candidates were given.
        truncated_queries: the indices of the queries that were cut.
        truncated_candidates: the indices of the candidates that were cut.
    """

    scores: NDArray[np.float32]
    version: int
    function: str
    indices: NDArray[np.int64] | None
    query_token_counts: NDArray[np.uint32]
    candidate_token_counts: NDArray[np.uint32]
    truncated_queries: tuple[int, ...] = ()
    truncated_candidates: tuple[int, ...] = ()


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


@dataclass(frozen=True)
class AliasInfo:
    """A name that moves from one version to another.

    Attributes:
        name: such as "stable".
        version: that the registry says it names.
        previous: that it named before, to which a rollback returns; 0 if none.
        serving: that the server answers with now; another during a swap or after a failed one; 0 if none.
    """

    name: str
    version: int
    previous: int
    serving: int
