"""Reads sets to search: queries, documents and judgements, in BEIR's layout or as SQuAD's JSON (KorQuAD, KLUE-MRC)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from munjang.errors import ConfigurationError
from munjang_trainer.data.files import clean, read_records, read_table, suffix_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang_trainer.data.files import RowCounts


class Judgement(NamedTuple):
    """How relevant a document is to a query; a row of a table of kind `retrieval`."""

    query_id: str
    query: str
    document_id: str
    document: str
    relevance: float


def read_beir(corpus: str, queries: str, qrels: str, counts: RowCounts, encoding: str = "utf-8") -> Iterator[Judgement]:
    """The judgements of a set in BEIR's layout, then a row for each document that answers no query.

    Raises:
        ConfigurationError: a file cannot be read, lacks a column, or names no relevant document.
    """
    documents = _texts(corpus, encoding)
    asked = _texts(queries, encoding)
    used: set[str] = set()
    for query_id, document_id, grade in _qrels(qrels, counts, encoding):
        if query_id not in asked:
            counts.drop("no such query")
        elif document_id not in documents:
            counts.drop("no such document")
        else:
            used.add(document_id)
            yield Judgement(query_id, asked[query_id], document_id, documents[document_id], grade)
    if not used:
        msg = f"{qrels} judges no document of {corpus} for a query of {queries}"
        raise ConfigurationError(msg, field="data")
    for document_id, text in documents.items():
        if document_id not in used:
            yield Judgement("", "", document_id, text, 0.0)


def read_squad(address: str, counts: RowCounts, encoding: str = "utf-8") -> Iterator[Judgement]:
    """Each question with its paragraph; paragraphs of one text are one document.

    Raises:
        ConfigurationError: the file is not SQuAD's JSON.
    """
    documents: dict[str, str] = {}
    for number, (context, questions) in enumerate(_paragraphs(address, encoding)):
        text = clean(context)
        document_id = documents.setdefault(text, f"{number}")
        answered = 0
        for question in questions:
            counts.read += 1
            query = clean(str(question.get("question", "")))
            if question.get("is_impossible"):
                counts.drop("not answered by its paragraph")
            elif not query:
                counts.drop("empty text")
            else:
                answered += 1
                name = str(question.get("id") or question.get("guid") or f"{number}-{answered}")
                yield Judgement(name, query, document_id, text, 1.0)
        if not answered:
            yield Judgement("", "", document_id, text, 0.0)


def _paragraphs(address: str, encoding: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    try:
        for article in read_records(address, encoding):
            for paragraph in article["paragraphs"]:
                yield paragraph["context"], paragraph["qas"]
    except (KeyError, TypeError) as error:
        msg = f"{address} is not SQuAD's JSON: it lacks {error}"
        raise ConfigurationError(msg, field="data") from error


def _texts(address: str, encoding: str) -> dict[str, str]:
    """The texts of a corpus or of queries by id; a title comes first. Empty ones are left out."""
    texts: dict[str, str] = {}
    for record in read_records(address, encoding):
        name = record.get("_id", record.get("id"))
        if name is None or "text" not in record:
            msg = f"{address} lacks `_id` or `text`; it has {', '.join(map(str, record))}"
            raise ConfigurationError(msg, field="data")
        parts = (clean(str(record.get(part) or "")) for part in ("title", "text"))
        text = " ".join(part for part in parts if part)
        if text:
            texts[str(name)] = text
    return texts


QRELS = ("query-id", "corpus-id", "score")


def _qrels(address: str, counts: RowCounts, encoding: str) -> Iterator[tuple[str, str, float]]:
    if suffix_of(address) == ".jsonl":
        rows: Iterator[tuple[Any, ...]] = (
            tuple(record.get(name, "") for name in QRELS) for record in read_records(address, encoding)
        )
    else:
        rows = iter(read_table(address, QRELS, counts, encoding))
    for query_id, document_id, written in rows:
        try:
            yield str(query_id), str(document_id), float(written)
        except ValueError:
            counts.drop("no grade")
