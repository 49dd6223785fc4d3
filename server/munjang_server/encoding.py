"""From texts to raw vectors for one call: tokenise, wait for the batcher, put refused texts back in their places.

The same for Encode, each message of EncodeStream, and both sides of Similarity. What becomes of the vectors is theirs.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.contract import Tokens
from munjang.errors import MunjangError, VersionNotFound
from munjang_server.batching.contract import Lane, Work
from munjang_server.parsing import NO_FAULTS
from munjang_server.validation import check_prompt, raise_first, text_faults, token_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from munjang.engine.contract import EngineContract, Lease
    from munjang.settings import ServerSettings
    from munjang_server.batching.contract import Encodes
    from munjang_server.call import Call
    from munjang_server.metrics.calls import CallMetrics
    from munjang_server.workers import Workers

INLINE_COST = 65_536
"""Replies of up to so many components are made on the event loop: it takes less time than to hand them to a thread."""

FORESEEN = 4
"""Fewer texts than so many are tokenised within a tenth of a millisecond, and to foresee takes a tenth of that of every
call that is let in: the refusals would not be much cheaper."""

LONGEST_NAME = 63
"""The longest that the name of an alias can be."""

_SHORTEST = Tokens((0,))


@dataclass(frozen=True, slots=True)
class Texts:
    """One list of texts in a request.

    Attributes:
        field: its name in the request, for errors.
        texts: themselves.
        prompt: the prompt's name, or "".
        prompt_field: the name of the prompt's field, for errors.
        faults: texts that are known to be unreadable, by index.
    """

    field: str
    texts: Sequence[str]
    prompt: str
    prompt_field: str
    faults: Mapping[int, MunjangError] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The tokens of one list; `faults` says by index why a text has none, and None stands in its place.

    `trial`: it is held too slow, and run all the same.
    """

    source: Texts
    tokens: Sequence[Tokens | None]
    faults: Mapping[int, MunjangError]
    trial: bool = False

    def counts(self) -> list[int]:
        """Tokens by text; 0 for a refused one."""
        return [0 if item is None else len(item) for item in self.tokens]

    def cut(self) -> list[int]:
        """The indices of the texts that were cut, ascending."""
        return [index for index, item in enumerate(self.tokens) if item is not None and item.truncated]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Raw vectors float32 [n, D] of one list, rows of zeros where `faults` says why."""

    tokenized: Tokenized
    rows: NDArray[np.float32]
    faults: Mapping[int, MunjangError]


class Encoding:
    """What the servicers share.

    Args:
        engine: where versions are leased.
        encodes: encodes the texts of one request.
        workers: threads for large requests.
        metrics: where answered texts are counted.
        settings: limits and thresholds.
    """

    def __init__(
        self,
        engine: EngineContract,
        encodes: Encodes,
        workers: Workers,
        metrics: CallMetrics,
        settings: ServerSettings,
    ) -> None:
        self._engine = engine
        self._encodes = encodes
        self.workers = workers
        self._metrics = metrics
        self.settings = settings

    def lease(self, version: str, field: str, call: Call) -> Lease:
        """Lease the version that a request asks for.

        Raises:
            VersionNotFound, VersionLoading, VersionNotReady: with the field that named it.
        """
        if len(version) > LONGEST_NAME:
            msg = f"no version or alias has a name of {len(version)} characters"
            raise VersionNotFound(msg, field=field)
        try:
            lease = self._engine.acquire(version)
        except MunjangError as error:
            error.field = field
            raise
        call.version = lease.version
        return lease

    async def tokenize(
        self, call: Call, lease: Lease, source: Texts, lane: Lane, *, cut: bool, partial: bool
    ) -> Tokenized:
        """Check and tokenise one list, on the event loop where it is short.

        Raises:
            InvalidRequest: a text is refused and `partial` is False, or the prompt is unknown.
            TryLater, DeadlineExceeded: it would be refused however short its texts are, see `Encodes.foresee`.
        """
        encoder, texts = lease.encoder, source.texts
        check_prompt(source.prompt, encoder.info, source.prompt_field)
        start = time.perf_counter()
        faults = {**text_faults(texts, source.field, self.settings.max_text_chars), **source.faults}
        if faults:
            if not partial:
                raise_first(faults)
            texts = [text for index, text in enumerate(texts) if index not in faults]
        trial = self._is_trial(call, lease, len(texts), lane)
        if sum(map(len, texts)) <= self.settings.inline_chars:
            tokens = encoder.tokenize(texts, source.prompt)
        else:
            tokens = await self.workers.run(lease, encoder.tokenize, texts, source.prompt)
        placed: Sequence[Tokens | None] = _place(tokens, faults, len(source.texts)) if faults else tokens
        call.note("tokenize", start, time.perf_counter())
        late = token_faults(placed, source.field, encoder.info.max_tokens, cut=cut)
        if late:
            if not partial:
                raise_first(late)
            faults.update(late)
            placed = [None if index in late else item for index, item in enumerate(placed)]
        return Tokenized(source, placed, faults, trial)

    def _is_trial(self, call: Call, lease: Lease, texts: int, lane: Lane) -> bool:
        """Refuse what would be refused if each text were one token; whether it is a trial."""
        if texts < FORESEEN:
            return False
        return self._encodes.foresee(Work(lease, [_SHORTEST] * texts, call.caller.name, lane, call.deadline))

    def lane(self, texts: int) -> Lane:
        """Who waits for so many texts: a person or a program."""
        return Lane.BULK if texts >= self.settings.bulk_texts else Lane.INTERACTIVE

    async def encode(self, call: Call, lease: Lease, parts: Sequence[Tokenized], lane: Lane) -> list[Vectors]:
        """Encode lists of texts together, as one piece of work; texts that fail are in each list's `faults`."""
        tokens = [item for part in parts for item in part.tokens if item is not None]
        total = sum(map(len, tokens))
        call.caller.charge(tokens=total)
        if not tokens:
            rows = np.zeros((0, lease.encoder.info.dimensions), np.float32)
            return list(_shared_out(parts, rows, NO_FAULTS))
        start = time.perf_counter()
        trial = any(part.trial for part in parts)
        encoded = await self._encodes.encode(Work(lease, tokens, call.caller.name, lane, call.deadline, trial))
        if call.spans is not None:
            ran = start + encoded.queue_seconds
            call.note("queue", start, ran)
            call.note("forward", ran, min(ran + encoded.forward_seconds, time.perf_counter()))
        self._metrics.answered(call.rpc.name, lease.version, lane, len(tokens), total)
        return list(_shared_out(parts, encoded.rows, encoded.errors))

    async def finish(self, call: Call, lease: Lease, cost: int, make: Callable[[], bytes]) -> bytes:
        """Make the reply, on the event loop where that costs little (a number of components or scores)."""
        start = time.perf_counter()
        if cost <= INLINE_COST:
            reply = make()
        else:
            reply = await self.workers.run(lease, make)
        call.note("postprocess", start, time.perf_counter())
        return reply


def _place(tokens: Sequence[Tokens], faults: Mapping[int, MunjangError], count: int) -> list[Tokens | None]:
    """The tokens at the indices of their texts, None where a text was refused."""
    rest = iter(tokens)
    return [None if index in faults else next(rest) for index in range(count)]


def _shared_out(
    parts: Sequence[Tokenized], rows: NDArray[np.float32], errors: Mapping[int, MunjangError]
) -> Iterator[Vectors]:
    """Rows and errors of all parts' present texts, given back to the parts."""
    start = 0
    for part in parts:
        places = [index for index, item in enumerate(part.tokens) if item is not None]
        end = start + len(places)
        faults = dict(part.faults)
        for index in errors.keys() & range(start, end):
            faults[places[index - start]] = _at(errors[index], part.source.field, places[index - start])
        own = rows[start:end]
        if len(places) < len(part.tokens):
            own = np.zeros((len(part.tokens), rows.shape[1]), np.float32)
            own[places] = rows[start:end]
        yield Vectors(part, own, faults)
        start = end


def _at(error: MunjangError, field: str, index: int) -> MunjangError:
    """The same error, at its place in the request."""
    return type(error)(str(error), field=field, index=index, retry_after=error.retry_after)
