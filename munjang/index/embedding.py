"""Where an index gets new vectors from: whatever encodes as `munjang.client.Client` and `munjang.Encoder` do.

Vectors for a table are asked for by the table's space, and never taken from another: what encodes may have moved on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from munjang.errors import SpaceMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.index.layout import Layout


class Reply(Protocol):
    """Vectors of texts, all of one version; see `munjang.client.Embeddings`."""

    @property
    def vectors(self) -> NDArray[Any]:
        """One row per text."""

    @property
    def version(self) -> int:
        """The model version's number."""

    @property
    def space_id(self) -> str:
        """The version's space."""

    @property
    def token_counts(self) -> NDArray[np.uint32]:
        """Tokens read, per text."""

    @property
    def errors(self) -> Sequence[Any]:
        """With `partial_results`, the errors of texts, each with its `index`."""


class Encodes(Protocol):
    """A client of a server, or an encoder in this process; they name their choices of words more narrowly."""

    def encode(
        self,
        texts: Sequence[str],
        /,
        *,
        version: str | int = "",
        role: Any = "",
        prompt_name: str = "",
        prompt: str | None = None,
        normalize: bool = True,
        dimensions: int = 0,
        precision: Any = "float32",
        truncation: Any = "end",
        partial_results: bool = False,
    ) -> Reply:
        """See `munjang.client.Client.encode`."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors [n, layout.width] for the good ones of some texts.

    Attributes:
        places: which texts have a vector, ascending.
        vectors: theirs.
        version: who made them.
        tokens: that were read for them.
        problems: why the others have none, by place.
    """

    places: list[int]
    vectors: NDArray[Any]
    version: int
    tokens: int
    problems: dict[int, str]


def embed_documents(encoder: Encodes, texts: Sequence[str], layout: Layout) -> Embedded:
    """Vectors of documents as a table of this layout holds them, asked for as by its job. A failed text is no error.

    Raises:
        SpaceMismatch: another space answered.
        MunjangError: nothing was answered; see `munjang.errors`.
    """
    blank = {place: "the text is empty or only white space" for place, text in enumerate(texts) if not text.strip()}
    asked = [place for place in range(len(texts)) if place not in blank]
    if not asked:
        return Embedded([], np.empty((0, layout.width), layout.dtype), 0, 0, blank)
    reply = encoder.encode(
        [texts[place] for place in asked],
        version=layout.space_id,
        role=layout.role,
        prompt_name=layout.prompt_name,
        prompt=layout.prompt,
        partial_results=True,
        **_options(layout),
    )
    require_space(reply, layout)
    problems = blank | {asked[error.index]: str(error) for error in reply.errors}
    kept = [index for index, place in enumerate(asked) if place not in problems]
    return Embedded(
        places=[asked[index] for index in kept],
        vectors=np.asarray(reply.vectors)[kept].astype(layout.dtype, copy=False),
        version=reply.version,
        tokens=int(np.asarray(reply.token_counts)[kept].sum()),
        problems=problems,
    )


def query_options(layout: Layout, prompt_name: str) -> dict[str, Any]:
    """The arguments of `encode` for queries of a table: by role, unless a prompt is named."""
    return {"role": "query", "prompt_name": prompt_name, **_options(layout)}


def require_space(reply: Reply, layout: Layout) -> None:
    """Refuse vectors of another space.

    Raises:
        SpaceMismatch: they are.
    """
    if reply.space_id != layout.space_id:
        msg = (
            f"version {reply.version} answered, of space {reply.space_id}, and the table holds space {layout.space_id}"
        )
        raise SpaceMismatch(msg, field="version")


def _options(layout: Layout) -> dict[str, Any]:
    return {
        "normalize": layout.normalized,
        "dimensions": layout.dimensions if layout.cut else 0,
        "precision": str(layout.precision),
        "truncation": layout.truncation,
    }
