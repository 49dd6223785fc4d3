"""munjang in LangChain: texts embedded by their roles, and a retriever on a search index (extra `langchain`).

    from munjang.client import Client
    from munjang.langchain import MunjangRetriever
    from munjang.search import Index

    with Client("127.0.0.1:50051") as client, Index("faq.lance", client) as index:
        print(MunjangRetriever(index=index, k=5).invoke("환불은 어떻게 하나요?"))

An index is written by jobs and `munjang index`, which keep the vectors of each space apart, and not through LangChain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from munjang.errors import InvalidOption
from munjang.search import Index  # noqa: TC001 - pydantic needs the type at run time

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun

    from munjang.index.embedding import Encodes

__all__ = ["MunjangEmbeddings", "MunjangRetriever"]


class MunjangEmbeddings(Embeddings):
    """Vectors for LangChain's own vector stores: documents and queries each with the model's words for their role.

    Name a version or a space if the vectors are kept: LangChain's stores do not know which version made a vector.
    """

    def __init__(self, encoder: Encodes, *, version: str | int = "", dimensions: int = 0) -> None:
        """Choose what embeds.

        Args:
            encoder: a `munjang.client.Client`, or a `munjang.Encoder` in this process.
            version: a version's number, space id or alias; "" is "stable".
            dimensions: keep so many leading components; 0 keeps all.
        """
        self._encoder = encoder
        self._version = version
        self._dimensions = dimensions

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each document, scaled to length 1.

        Raises:
            MunjangError: the texts cannot be embedded; see `munjang.errors`.
        """
        return self._embed(texts, "document") if texts else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, scaled to length 1. Raises as `embed_documents`."""
        return self._embed([text], "query")[0]

    def _embed(self, texts: list[str], role: str) -> list[list[float]]:
        reply = self._encoder.encode(texts, version=self._version, role=role, dimensions=self._dimensions)
        vectors: list[list[float]] = reply.vectors.tolist()
        return vectors


class MunjangRetriever(BaseRetriever):
    """The rows of a `munjang.search.Index` that are nearest to a query, as documents, best first.

    A document's metadata has the row's other columns, and `score` and `version`; its id is the row's.

    Attributes:
        index: where to search; the caller closes it.
        k: how many documents.
        text_column: the carried column that becomes a document's text.
    """

    index: Index
    k: Annotated[int, Field(ge=1)] = 4
    text_column: str = "text"

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002 - LangChain passes it
        """Search. Raises as `Index.search`, and InvalidOption where the index has no such text column."""
        return [self._document(hit.columns, hit) for hit in self.index.search(query, self.k)]

    def _document(self, columns: dict[str, Any], hit: Any) -> Document:
        if self.text_column not in columns:
            known = ", ".join(map(repr, columns)) or "none"
            msg = f"the index carries no column {self.text_column!r}; it carries {known}"
            raise InvalidOption(msg, field="text_column")
        metadata = {name: value for name, value in columns.items() if name != self.text_column}
        metadata |= {"score": hit.score, "version": hit.version}
        return Document(page_content=columns[self.text_column] or "", id=str(hit.id), metadata=metadata)
