"""Texts and options to request messages: makes the checks that are cheap here, and splits lists. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from munjang.errors import (
    EmptyText,
    InvalidOption,
    InvalidText,
    MessageTooLarge,
    MunjangError,
    NoTexts,
    UnsupportedDimensions,
    UnsupportedPrecision,
)
from munjang.kinds import Role
from munjang.v1 import embedding_service_pb2, rerank_service_pb2, resources_pb2
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_CALL_BYTES = 8 * 1024 * 1024
"""Texts of one call stay below this, half of the server's default limit of a message."""

_MAX_UINT32 = 2**32 - 1
_TRUNCATIONS = {
    "end": resources_pb2.Truncation.TRUNCATION_END,
    "none": resources_pb2.Truncation.TRUNCATION_NONE,
}
_MODES = {
    "matrix": embedding_service_pb2.SimilarityMode.SIMILARITY_MODE_MATRIX,
    "pairwise": embedding_service_pb2.SimilarityMode.SIMILARITY_MODE_PAIRWISE,
    "top_k": embedding_service_pb2.SimilarityMode.SIMILARITY_MODE_TOP_K,
}


@dataclass(frozen=True)
class Options:
    """The choices of an encode call, as the caller wrote them."""

    version: str | int = ""
    prompt_name: str = ""
    normalize: bool = True
    dimensions: int = 0
    precision: str = "float32"
    truncation: str = "end"
    partial_results: bool = False
    prompt: str | None = None
    role: str = ""

    def message(self) -> resources_pb2.EncodeOptions:
        """The wire form.

        Raises:
            UnsupportedPrecision, UnsupportedDimensions, InvalidOption: an option that no server knows, or two that
                contradict.
            InvalidText: the prompt is not valid Unicode or not a string.
        """
        try:
            precision = Precision(self.precision)
        except ValueError as error:
            msg = f"precision {self.precision!r} is not one of {', '.join(Precision)}"
            raise UnsupportedPrecision(msg, field="options.precision") from error
        return resources_pb2.EncodeOptions(
            version=str(self.version),
            prompt_name=self.prompt_name,
            prompt=_prompt(self.prompt, self.prompt_name, "options."),
            role=_role(self.role, "options.role"),
            normalize=self.normalize,
            dimensions=_dimensions(self.dimensions, "options.dimensions"),
            precision=resources_pb2.Precision.Value(f"PRECISION_{precision.name}"),
            truncation=_truncation(self.truncation, "options.truncation"),
        )


@dataclass(frozen=True)
class Part:
    """One call's part of a longer list: its texts, where they begin, and those that are never sent.

    `refused` are texts that no message can carry, by index in this part; with partial results an empty text, which the
    server refuses, is sent in their place, so the rows keep their positions.
    """

    start: int
    texts: tuple[str, ...]
    refused: Mapping[int, MunjangError] = field(default_factory=dict)

    def request(self, options: Options, version: int = 0) -> embedding_service_pb2.EncodeRequest:
        """The message of this part; `version`, where not 0, takes the place of the options' own."""
        chosen = replace(options, version=version) if version else options
        return embedding_service_pb2.EncodeRequest(
            texts=self.texts, options=chosen.message(), partial_results=options.partial_results
        )


def parts(texts: Iterable[str], options: Options, batch_size: int) -> list[Part]:
    """Check and split texts into calls of at most `batch_size` texts and 8 MiB.

    Raises:
        NoTexts: there are none.
        InvalidText, EmptyText: a text is not valid Unicode, not a string, or blank; unless partial results are wanted.
    """
    found = [cut(start, chunk, options) for start, chunk in chunks(_listed(texts), batch_size)]
    if not found:
        msg = "there are no texts to encode"
        raise NoTexts(msg, field="texts")
    return found


def whole(texts: Iterable[str], options: Options) -> Part:
    """Check texts that must go as one message.

    Raises:
        NoTexts, InvalidText, EmptyText: as `parts`.
        MessageTooLarge: they are more than 8 MiB.
    """
    listed = _listed(texts)
    found = parts(listed, options, max(1, len(listed)))
    if len(found) > 1:
        msg = f"the texts of one batch are more than {MAX_CALL_BYTES} bytes; send them as several batches"
        raise MessageTooLarge(msg, field="texts")
    return found[0]


def cut(start: int, texts: Sequence[str], options: Options) -> Part:
    """Check one call's texts."""
    if not options.partial_results:
        return Part(start, checked(texts, "texts", start))
    refused = {index: error for index, text in enumerate(texts) if (error := _unsendable(text, "texts", index))}
    return Part(start, tuple("" if index in refused else text for index, text in enumerate(texts)), refused)


class Chunker:
    """Groups texts, one by one, into lists of at most `batch_size` texts and 8 MiB; each comes with its start."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._start = 0
        self._chunk: list[str] = []
        self._bytes = 0

    def push(self, text: str) -> tuple[int, list[str]] | None:
        """Take a text; returns the chunk that was full before it, if any."""
        more = 4 * len(text) if isinstance(text, str) else 0  # the most that UTF-8 takes
        full = self._chunk and (len(self._chunk) == self._batch_size or self._bytes + more > MAX_CALL_BYTES)
        done = self.flush() if full else None
        self._chunk.append(text)
        self._bytes += more
        return done

    def flush(self) -> tuple[int, list[str]] | None:
        """The chunk that is not full yet, if any."""
        if not self._chunk:
            return None
        done = self._start, self._chunk
        self._start, self._chunk, self._bytes = self._start + len(self._chunk), [], 0
        return done


def chunks(texts: Iterable[str], batch_size: int) -> Iterator[tuple[int, list[str]]]:
    """All chunks of texts, made without reading ahead."""
    chunker = Chunker(batch_size)
    for text in texts:
        if done := chunker.push(text):
            yield done
    if rest := chunker.flush():
        yield rest


def checked(texts: Sequence[str], field: str, start: int = 0) -> tuple[str, ...]:
    """The texts, all of them fit to be sent; errors count from `start`.

    Raises:
        InvalidText: a text is not valid Unicode or not a string.
        EmptyText: a text is blank.
    """
    for index, text in enumerate(texts, start):
        if error := _unsendable(text, field, index):
            raise error
        if not text.strip():
            msg = f"{field}[{index}] is empty or only white space"
            raise EmptyText(msg, field=field, index=index)
    return tuple(texts)


def similarity_request(
    queries: Iterable[str],
    candidates: Iterable[str] | None,
    *,
    mode: str,
    top_k: int,
    version: str | int,
    query_prompt_name: str,
    candidate_prompt_name: str,
    query_prompt: str | None,
    candidate_prompt: str | None,
    query_role: str,
    candidate_role: str,
    dimensions: int,
    truncation: str,
) -> embedding_service_pb2.SimilarityRequest:
    """The message of a similarity call.

    Raises:
        NoTexts: no queries, or an empty list of candidates.
        InvalidText, EmptyText: a text is not valid Unicode or blank; a prompt is not valid Unicode.
        InvalidOption, UnsupportedDimensions: an option that no server knows, or two that contradict.
    """
    asked = checked(_listed(queries), "queries")
    given = None if candidates is None else checked(_listed(candidates), "candidates")
    if not asked or given == ():
        field = "candidates" if asked else "queries"
        msg = f"there are no {field} to compare"
        raise NoTexts(msg, field=field)
    _check_mode(mode, top_k, len(asked), None if given is None else len(given))
    return embedding_service_pb2.SimilarityRequest(
        queries=asked,
        candidates=given or (),
        mode=_MODES[mode],
        top_k=top_k,
        version=str(version),
        query_prompt_name=query_prompt_name,
        candidate_prompt_name=candidate_prompt_name,
        query_prompt=_prompt(query_prompt, query_prompt_name, "query_"),
        candidate_prompt=_prompt(candidate_prompt, candidate_prompt_name, "candidate_"),
        query_role=_role(query_role, "query_role"),
        candidate_role=_role(candidate_role, "candidate_role"),
        dimensions=_dimensions(dimensions, "dimensions"),
        truncation=_truncation(truncation, "truncation"),
    )


@dataclass(frozen=True)
class RerankPart:
    """One call's part of a list of documents: where they begin, and its message.

    Attributes:
        start: the index of its first document in the whole list.
        message: what is sent.
    """

    start: int
    message: rerank_service_pb2.RerankRequest

    def pinned(self, version: int) -> rerank_service_pb2.RerankRequest:
        """The message to a version that answered another part, or as it is where that is 0."""
        pinned = rerank_service_pb2.RerankRequest()
        pinned.CopyFrom(self.message)
        if version:
            pinned.version = str(version)
        return pinned


def rerank_parts(
    query: str,
    documents: Iterable[str],
    batch_size: int,
    *,
    version: str | int,
    top_n: int,
    raw_scores: bool,
    truncation: str,
) -> list[RerankPart]:
    """Check and split documents into calls of at most `batch_size` documents and 8 MiB, each with the query.

    Raises:
        NoTexts: there are no documents.
        InvalidText, EmptyText: a text is not valid Unicode, not a string, or blank.
        InvalidOption: an option that no server knows.
    """
    if error := _unsendable(query, "query"):
        raise error
    if not query.strip():
        msg = "query is empty or only white space"
        raise EmptyText(msg, field="query")
    if not 0 <= top_n <= _MAX_UINT32:
        msg = f"top_n is {top_n}; it must be above 0, or 0 for all"
        raise InvalidOption(msg, field="top_n")
    asked = rerank_service_pb2.RerankRequest(
        query=query,
        version=str(version),
        top_n=top_n,
        raw_scores=raw_scores,
        truncation=_truncation(truncation, "truncation"),
    )
    found = []
    for start, chunk in chunks(_listed(documents), batch_size):
        message = rerank_service_pb2.RerankRequest(documents=checked(chunk, "documents", start))
        message.MergeFrom(asked)
        found.append(RerankPart(start, message))
    if not found:
        msg = "there are no documents to rerank"
        raise NoTexts(msg, field="documents")
    return found


def _check_mode(mode: str, top_k: int, queries: int, candidates: int | None) -> None:
    if mode not in _MODES:
        msg = f"mode {mode!r} is not one of {', '.join(_MODES)}"
        raise InvalidOption(msg, field="mode")
    if (mode == "top_k") != (0 < top_k <= _MAX_UINT32):
        msg = "top_k must be above 0" if mode == "top_k" else f"top_k belongs to mode top_k, not to {mode}"
        raise InvalidOption(msg, field="top_k")
    if mode == "pairwise" and candidates != queries:
        msg = f"pairwise needs as many candidates as queries: {queries} queries, {candidates or 0} candidates"
        raise InvalidOption(msg, field="candidates")


def _listed(texts: Iterable[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _unsendable(text: object, field: str, index: int | None = None) -> MunjangError | None:
    place = field if index is None else f"{field}[{index}]"
    if not isinstance(text, str):
        return InvalidText(f"{place} is a {type(text).__name__}, not a str", field=field, index=index)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{place} is not valid Unicode: a lone surrogate at character {error.start}"
        return InvalidText(msg, field=field, index=index)
    return None


def _dimensions(dimensions: int, field: str) -> int:
    if 0 <= dimensions <= _MAX_UINT32:
        return dimensions
    msg = f"dimensions is {dimensions}; it must be above 0, or 0 for all"
    raise UnsupportedDimensions(msg, field=field)


def _prompt(prompt: str | None, prompt_name: str, prefix: str) -> str | None:
    if prompt is not None and prompt_name:
        msg = "a prompt is given by its name and as a text: leave one of them out"
        raise InvalidOption(msg, field=f"{prefix}prompt")
    if prompt is not None and (error := _unsendable(prompt, f"{prefix}prompt")):
        raise error
    return prompt


def _role(name: str, field: str) -> resources_pb2.Role.ValueType:
    if not name:
        return resources_pb2.Role.ROLE_UNSPECIFIED
    try:
        return resources_pb2.Role.Value(f"ROLE_{Role(name).name}")
    except ValueError as error:
        msg = f"role {name!r} is not one of {', '.join(Role)}"
        raise InvalidOption(msg, field=field) from error


def _truncation(name: str, field: str) -> resources_pb2.Truncation.ValueType:
    try:
        return _TRUNCATIONS[name]
    except KeyError as error:
        msg = f"truncation {name!r} is not one of {', '.join(_TRUNCATIONS)}"
        raise InvalidOption(msg, field=field) from error
