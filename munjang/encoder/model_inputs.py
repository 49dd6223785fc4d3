"""The arrays that a model reads, made from a batch of tokenised texts, frame by frame. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.encoder.sequence_packing import START, Frame, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.encoder.model_rules import Rules


def in_frames(
    batch: Sequence[Tokens],
    rules: Rules,
    run: Callable[[Any], NDArray[np.float32]],
    *,
    start: int = START,
) -> NDArray[np.float32]:
    """Vectors float32 [len(batch), dimensions] in the order of the batch; `run` gives those of one frame's arrays.

    `start` is that of `lay_out`.
    """
    frames = _frames([len(tokens) for tokens in batch], rules, start)
    return in_order(frames, [run(arrays(frame, batch, rules)) for frame in frames])


def _frames(lengths: Sequence[int], rules: Rules, start: int) -> Sequence[Frame]:
    """As `lay_out`, but for the texts that must have no padding: a frame of its own for each."""
    if max(lengths) <= rules.alone_beyond:
        return lay_out(lengths, packs=rules.packs, start=start)
    alone = [position for position, length in enumerate(lengths) if length > rules.alone_beyond]
    others = [position for position, length in enumerate(lengths) if length <= rules.alone_beyond]
    frames = [Frame(lengths[position], ((position,),)) for position in alone]
    if others:
        together = lay_out([lengths[position] for position in others], packs=rules.packs, start=start)
        frames += (
            Frame(frame.width, tuple(tuple(others[at] for at in row) for row in frame.rows)) for frame in together
        )
    return frames


def in_order(frames: Sequence[Frame], found: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The vectors of each frame's texts as float32 [texts, dimensions], in the order of the batch."""
    if len(frames) == 1 and len(found[0]) == 1:
        return found[0]
    together = np.concatenate(found)
    rows = np.empty_like(together)
    rows[[position for frame in frames for position in frame.texts]] = together
    return rows


def arrays(frame: Frame, batch: Sequence[Tokens], rules: Rules) -> dict[str, NDArray[np.int64]]:
    """The model's inputs by name, all int64, for `frame.texts` of the batch in their order; not to be written to.

    For each token of each row, [rows, width]: `input_ids`; `segments`, the text that it belongs to, counted from 1 in
    its row, 0 for padding; `position_ids` if the model packs; `token_type_ids` if it takes them.
    For each text, [texts, longest], or for a single text [1, width]: `index`, where its tokens are among all tokens of
    all rows; `mask`, 1 for a token.
    """
    if not rules.packs and frame.width > rules.max_tokens:  # padding has positions too there, and the model so many
        frame = Frame(rules.max_tokens, frame.rows)
    texts = [batch[position] for position in frame.texts]
    place = _place_one if len(texts) == 1 else _place
    first = rules.first_position if rules.packs else None
    placed = place(frame, tuple(map(len, texts)), first)
    shape = (len(frame.rows), frame.width)
    found = {
        "input_ids": _spread(_chained([tokens.ids for tokens in texts]), placed.places, shape, rules.pad_id),
        **placed.arrays,
    }
    if first is not None and any(rules.uncounted_id in tokens.ids for tokens in texts):
        found["position_ids"] = _positions(found["input_ids"], placed, rules)
    if rules.wants_type_ids:
        kinds = _chained([tokens.type_ids or (0,) * len(tokens) for tokens in texts])
        found["token_type_ids"] = _spread(kinds, placed.places, shape, rules.pad_type_id)
    return found


@dataclass(frozen=True, slots=True)
class Placed:
    """The part of a frame's inputs that depends on lengths alone, and where its tokens are among those of all rows."""

    arrays: Mapping[str, NDArray[np.int64]]
    places: NDArray[np.int64]


def _place(frame: Frame, lengths: tuple[int, ...], first_position: int | None) -> Placed:
    counts = np.array(lengths)
    starts = _starts(frame, counts)
    steps = np.arange(counts.max() if len(lengths) > 1 else frame.width)
    real = steps < counts[:, None]
    index = np.where(real, starts[:, None] + steps, 0)
    places = index[real]
    shape = (len(frame.rows), frame.width)
    segments = np.concatenate([np.arange(1, len(row) + 1) for row in frame.rows])
    found = {
        "segments": _spread(np.repeat(segments, counts), places, shape, 0),
        "index": index,
        "mask": real.astype(np.int64),
    }
    if first_position is not None:
        positions = np.broadcast_to(steps, real.shape)[real] + first_position
        found["position_ids"] = _spread(positions, places, shape, first_position)
    return Placed(found, places)


def _positions(ids: NDArray[np.int64], placed: Placed, rules: Rules) -> NDArray[np.int64]:
    """Positions where a text holds the id that takes none: it has the one before the first, as in RoBERTa."""
    index, mask = placed.arrays["index"], placed.arrays["mask"]
    first = rules.first_position
    counted = mask * (ids.reshape(-1)[index] != rules.uncounted_id)
    positions = first - 1 + np.cumsum(counted, axis=1) * counted
    return _spread(positions[mask > 0], placed.places, ids.shape, first)


_place_one = lru_cache(maxsize=128)(_place)
"""The same for a single text, whose caller waits for every tenth of a millisecond: there are few lengths of those."""


def _starts(frame: Frame, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each text begins among all tokens of all rows."""
    ends = np.cumsum(lengths)
    firsts = np.cumsum([0, *(len(row) for row in frame.rows[:-1])])
    before = (ends - lengths)[firsts]  # tokens of all rows above
    row = np.repeat(np.arange(len(frame.rows)), [len(row) for row in frame.rows])
    starts: NDArray[np.int64] = row * frame.width + ends - lengths - before[row]
    return starts


def _chained(parts: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(parts), np.int64)


def _spread(
    values: NDArray[np.int64], places: NDArray[np.int64], shape: tuple[int, int], padding: int
) -> NDArray[np.int64]:
    rows = np.full(shape, padding, np.int64)
    rows.reshape(-1)[places] = values
    return rows
