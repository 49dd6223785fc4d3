"""From texts to raw vectors for one call: tokenise, charge the caller's rate limit, await the scheduler.

Encode, each message of EncodeStream, both sides of Similarity, and Rerank share it. They decide what happens to the
vectors, which are scores in the case of Rerank.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.contract import Tokens
from munjang.encoder.tokenizer import in_pieces
from munjang.errors import DeadlineExceeded, MunjangError, TryLater, VersionNotFound, WrongKind
from munjang.kinds import ModelKind
from munjang_server.rpc.request_parsing import NO_ERRORS, raise_first, text_errors, token_errors
from munjang_server.scheduling.api import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder, Piece, Prompting
    from munjang.engine.contract import EngineContract, Lease
    from munjang.settings import ServerSettings
    from munjang_server.metrics import RequestMetrics
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.request_parsing import PromptRequest
    from munjang_server.scheduling.api import Encoded, Encodes, Lane
    from munjang_server.security.authentication import RateLimiter
    from munjang_server.tokenizer_pool import TokenizerPool

INLINE_COST = 65_536
"""Replies of up to this many components are made on the event loop: that is faster than handing them to a thread."""

MIN_TEXTS_TO_CHECK = 4
"""Calls of fewer texts are tokenised without the early check for hopeless lists: the check would cost all of them about
as much as it saves on the refused ones."""

MAX_NAME_LENGTH = 63
"""The longest name that an alias can have."""

WRONG = {
    ModelKind.DENSE: "a dense model, which makes vectors: name a cross-encoder, such as 'rerank'",
    ModelKind.CROSS_ENCODER: "a cross-encoder, which scores pairs: call Rerank, or name a dense model such as 'stable'",
}
"""What to tell a caller who named a version of this kind where the other is needed."""

_ONE_TOKEN = Tokens((0,))


@dataclass(slots=True, eq=False)
class TextList:
    """One list of texts on its way through the pipeline: texts, then tokens, then vectors.

    Attributes:
        field: its name in the request, for errors.
        texts: the texts.
        asked: the prompt and role that the request gives them.
        query: for a cross-encoder, what each text is read with; else "".
        errors: why a text is refused or failed, by index.
        tokens: by text; None where it is refused.
        rows: raw vectors float32 [n, D]; zeros where `errors` says why.
    """

    field: str
    texts: Sequence[str]
    asked: PromptRequest
    query: str = ""
    errors: Mapping[int, MunjangError] = dataclasses.field(default_factory=dict)
    tokens: Sequence[Tokens | None] = ()
    rows: NDArray[np.float32] = dataclasses.field(init=False)

    def tokenized(self, encoder: Encoder, texts: Sequence[str], how: Prompting) -> list[Tokens]:
        """Some of the texts as the model reads them."""
        if self.query:
            return encoder.tokenize_pairs([(self.query, text) for text in texts])
        return encoder.tokenize(texts, how)

    def token_counts(self) -> list[int]:
        """Tokens by text; 0 for a refused one."""
        return [0 if item is None else len(item) for item in self.tokens]

    def truncated(self) -> list[int]:
        """The indices of the texts that were truncated, ascending."""
        return [index for index, item in enumerate(self.tokens) if item is not None and item.truncated]


class EncodePipeline:
    """What all calls that encode texts share.

    Args:
        engine: where versions are leased.
        scheduler: encodes the texts of one request.
        pool: threads for large requests.
        metrics: where answered texts are counted.
        settings: limits and thresholds.
    """

    def __init__(
        self,
        engine: EngineContract,
        scheduler: Encodes,
        pool: TokenizerPool,
        metrics: RequestMetrics,
        settings: ServerSettings,
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._pool = pool
        self._metrics = metrics
        self.settings = settings

    def lease(self, version: str, field: str, call: Call, texts: int, kind: ModelKind = ModelKind.DENSE) -> Lease:
        """Lease the version that a request asks for, unless its texts are over the caller's rate limit already.

        Raises:
            RateLimited: the caller has to wait.
            VersionNotFound, VersionLoading, VersionNotReady: with the field that named it.
            WrongKind: it is a model of another kind than the method needs.
        """
        if call.caller.limiter is not None:
            call.caller.limiter.check(texts=texts)
        if len(version) > MAX_NAME_LENGTH:
            msg = f"no version or alias has a name of {len(version)} characters"
            raise VersionNotFound(msg, field=field)
        try:
            lease = self._engine.acquire(version)
        except MunjangError as error:
            error.field = field
            raise
        call.version, call.space_id = lease.version, lease.space_id
        if lease.encoder.info.kind is not kind:
            lease.release()
            msg = f"version {lease.version} is {WRONG[lease.encoder.info.kind]}"
            raise WrongKind(msg, field=field)
        return lease

    async def tokenize(
        self, call: Call, lease: Lease, part: TextList, lane: Lane, *, truncate: bool, partial: bool
    ) -> None:
        """Check and tokenise one list, on the event loop if it is short.

        Raises:
            InvalidRequest: a text is refused and `partial` is False, or the prompt is.
            TryLater, DeadlineExceeded: it would be refused however short its texts are.
        """
        encoder, texts = lease.encoder, part.texts
        settings, asked = self.settings, part.asked
        asked.check_size(len(texts), settings.max_text_chars, settings.max_message_bytes)
        how = asked.resolve(encoder.info)
        start = time.perf_counter()
        errors = text_errors(texts, part.field, settings.max_text_chars, asked.prompt or "")
        errors.update(part.errors)
        if errors:
            if not partial:
                raise_first(errors)
            texts = [text for index, text in enumerate(texts) if index not in errors]
        if len(texts) >= MIN_TEXTS_TO_CHECK:
            outline = [_ONE_TOKEN] * len(texts)
            self._scheduler.check_hopeless(Work(lease, outline, call.caller.name, lane, call.deadline))
        before = len(part.query) if part.query else len(how.prompt) * len(texts)
        if before + sum(map(len, texts)) <= settings.inline_chars:
            tokens = part.tokenized(encoder, texts, how)
        else:
            tokens = []
            for piece in in_pieces(texts, how.prompt):  # where the caller goes, the others are left undone
                tokens += await self._pool.run(lease, part.tokenized, encoder, piece, how)
        call.span("tokenize", start, time.perf_counter())
        part.tokens = _placed(tokens, errors, len(part.texts)) if errors else tokens
        late = token_errors(part.tokens, part.field, encoder.info.max_tokens, truncate=truncate)
        if late:
            if not partial:
                raise_first(late)
            errors.update(late)
            part.tokens = [None if index in late else item for index, item in enumerate(part.tokens)]
        part.errors = errors

    async def pieces(
        self, lease: Lease, texts: Sequence[str], field: str, prompt: str, *, special: bool
    ) -> list[list[Piece]]:
        """The tokens of texts for people to see, on a thread if there is much of them.

        Raises:
            InvalidRequest: a text is refused, or the model reads no token ids.
            Overloaded: too much waits for the threads.
        """
        raise_first(text_errors(texts, field, self.settings.max_text_chars))
        show = partial(lease.encoder.pieces, prompt=prompt, special=special)
        if sum(map(len, texts)) <= self.settings.inline_chars:
            return show(texts)
        found = []
        for piece in in_pieces(texts, prompt):
            found += await self._pool.run(lease, show, piece)
        return found

    async def encode(self, call: Call, lease: Lease, parts: Sequence[TextList], lane: Lane) -> None:
        """Encode lists of texts together, as one piece of work; texts that fail are in each list's `errors`.

        Raises:
            MunjangError: the work is refused, and not charged to the caller's rate limit, or failed as a whole.
        """
        if len(parts) == 1 and not parts[0].errors:
            tokens: Sequence[Tokens] = parts[0].tokens  # type: ignore[assignment]  # without errors none is None
        else:
            tokens = [item for part in parts for item in part.tokens if item is not None]
        total = sum(map(len, tokens))
        if not tokens:
            _share_out(parts, np.zeros((0, lease.encoder.info.dimensions), np.float32), NO_ERRORS)
            return
        work = Work(lease, tokens, call.caller.name, lane, call.deadline)
        start = time.perf_counter()
        limiter = call.caller.limiter
        if limiter is None:
            encoded = await self._scheduler.encode(work)
        else:
            encoded = await self._encode_charged(limiter, work, total)
        if call.spans is not None:
            ran = start + encoded.queue_seconds
            call.span("queue", start, ran)
            call.span("forward", ran, min(ran + encoded.forward_seconds, time.perf_counter()))
        self._metrics.answered(call.rpc.name, lease.version, encoded.lane, len(tokens), total)
        if len(parts) == 1 and not parts[0].errors and not encoded.errors:
            parts[0].rows = encoded.rows
        else:
            _share_out(parts, encoded.rows, encoded.errors)

    async def _encode_charged(self, limiter: RateLimiter, work: Work, tokens: int) -> Encoded:
        """Encode within the caller's rate limit. Requests that the scheduler does not admit are not charged."""
        too_late = work.deadline is not None and time.monotonic() >= work.deadline
        limiter.charge(texts=len(work.tokens), tokens=tokens)
        try:
            return await self._scheduler.encode(work)
        except (TryLater, DeadlineExceeded) as error:
            if too_late or isinstance(error, TryLater):
                limiter.refund(texts=len(work.tokens), tokens=tokens)
            raise

    async def finish(self, call: Call, lease: Lease, cost: int, serialize: Callable[[], bytes]) -> bytes:
        """Make the reply, on the event loop if that costs little (a number of components or scores)."""
        start = time.perf_counter()
        reply = serialize() if cost <= INLINE_COST else await self._pool.run(lease, serialize)
        call.span("postprocess", start, time.perf_counter())
        return reply


def _placed(tokens: Sequence[Tokens], errors: Mapping[int, MunjangError], count: int) -> list[Tokens | None]:
    """The tokens at the indices of their texts, None where a text is refused."""
    rest = iter(tokens)
    return [None if index in errors else next(rest) for index in range(count)]


def _share_out(parts: Sequence[TextList], rows: NDArray[np.float32], errors: Mapping[int, MunjangError]) -> None:
    """Give rows and errors of the encoded texts of all parts back to the parts, at the texts' own places."""
    start = 0
    for part in parts:
        places = [index for index, item in enumerate(part.tokens) if item is not None]
        end = start + len(places)
        failed = {
            places[index - start]: _at(errors[index], part.field, places[index - start])
            for index in errors.keys() & range(start, end)
        }
        part.errors = {**part.errors, **failed}
        part.rows = rows[start:end]
        if len(places) < len(part.tokens):
            part.rows = np.zeros((len(part.tokens), rows.shape[1]), np.float32)
            part.rows[places] = rows[start:end]
        start = end


def _at(error: MunjangError, field: str, index: int) -> MunjangError:
    """The same error, at its place in the request."""
    return type(error)(str(error), field=field, index=index, retry_after=error.retry_after)
