"""What forms a batch: pure functions of what waits. Who waits where is kept by `queue`, and `runner` runs the batches.

A batch is made in three steps. `next_lane` says which lane's turn it is, by what the other is owed. Fairness among the
callers of the lane (see `callers`) says in which order their requests join, so that none waits for ever. `fitting` says
how many of a request's texts do. Lengths do not matter: texts of any lengths lie beside each other without much padding
(see `munjang.encoder.layout`), so nobody is overtaken because its text is longer or shorter than most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from munjang_server.batching.contract import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence


def next_lane(*, interactive: bool, bulk: bool, owed: float, turn: float) -> Lane:
    """Which lane's turn it is, given which of them wait: interactive first, unless bulk is owed a whole turn."""
    if bulk and (not interactive or owed >= turn):
        return Lane.BULK
    return Lane.INTERACTIVE


def owed_after(
    owed: float, lane: Lane, tokens: int, share: float, *, interactive_waits: bool, bulk_waits: bool
) -> float:
    """What bulk is owed, in tokens, after a batch of `tokens` was taken and these lanes still wait.

    In the long run bulk gets `share` of the tokens while both wait. What it gets while interactive has no use for the
    engine pays back what it is owed, but makes no debt; and nothing is owed to nobody.
    """
    if not bulk_waits:
        return 0.0
    if lane is Lane.INTERACTIVE:
        return owed + tokens * share / (1 - share) if share < 1 else math.inf
    return owed - tokens if interactive_waits else max(owed - tokens, min(owed, 0.0))


def fitting(lengths: Sequence[int], first: int, room: int, share: int, *, alone: bool) -> int:
    """How many texts from `first` on to take into a batch with room for so many tokens.

    At most `share` tokens of them, but a first text that fits is taken whatever the share; and where the batch would be
    empty (`alone`), also one that does not fit.
    """
    texts = tokens = 0
    for place in range(first, len(lengths)):
        tokens += lengths[place]
        if tokens > (min(room, share) if texts else room) and (texts or not alone):
            break
        texts += 1
    return texts
