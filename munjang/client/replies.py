"""Reply messages to results: packed bytes to numpy arrays, enums to words. Raises where a reply contradicts itself."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np

from munjang.client.failures import from_text_error, moved
from munjang.client.results import AliasInfo, Embeddings, Scores, VersionInfo
from munjang.errors import InternalError
from munjang.v1 import embedding_service_pb2, resources_pb2
from munjang.vectors import Precision, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from munjang.client.requests import Part
    from munjang.v1 import model_service_pb2


def embeddings(response: embedding_service_pb2.EncodeResponse, part: Part, start: int = 0) -> Embeddings:
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
        errors=tuple(moved(by_index[index], start) for index in sorted(by_index)),
        scale=packed.scale,
    )


def joined(pieces: Sequence[Embeddings]) -> Embeddings:
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
    )


def scores(
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
    )


def version_info(version: resources_pb2.ModelVersion) -> VersionInfo:
    """A version in the caller's words."""
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
    )


def alias_infos(aliases: Iterable[model_service_pb2.Alias]) -> dict[str, AliasInfo]:
    """The aliases by name."""
    return {a.name: AliasInfo(a.name, a.version, a.previous, a.serving) for a in aliases}


def _function(value: resources_pb2.SimilarityFunction.ValueType) -> str:
    return resources_pb2.SimilarityFunction.Name(value).removeprefix("SIMILARITY_FUNCTION_").lower()
