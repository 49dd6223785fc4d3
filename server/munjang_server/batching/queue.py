"""Everything that waits, and which batch comes next: two lanes with an account between them. Not thread-safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang_server.batching import policy
from munjang_server.batching.contract import Lane
from munjang_server.batching.lane_queue import LaneQueue
from munjang_server.batching.speed import Flow

if TYPE_CHECKING:
    from munjang_server.batching.pace import Pace
    from munjang_server.batching.request import Batch, Request


class Queue:
    """The waiting texts of all lanes, versions and callers.

    Attributes:
        lanes: the lanes.
        late: requests that `take` found past answering in time, with how many texts were waiting; whoever takes must
            end them and clear the list.
        interactive: how many tokens a second interactive calls took lately.
    """

    def __init__(self, pace: Pace, bulk_share: float) -> None:
        self.lanes = {lane: LaneQueue(lane) for lane in Lane}
        self.late: list[tuple[Request, int]] = []
        self.interactive = Flow()
        self._pace = pace
        self._share = bulk_share
        self._owed = 0.0
        self._serial = 0

    @property
    def texts(self) -> int:
        """How many texts wait."""
        return sum(lane.texts for lane in self.lanes.values())

    @property
    def tokens(self) -> int:
        """Their tokens."""
        return sum(lane.tokens for lane in self.lanes.values())

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        if request.work.lane is Lane.INTERACTIVE:
            self._pace.saw_interactive(request.arrived)
        request.home = self
        self._serial += 1
        request.serial = self._serial
        self.lanes[request.work.lane].add(request)

    def drop(self, request: Request) -> int:
        """Take all waiting texts of a request away; returns how many there were."""
        return self.lanes[request.work.lane].drop(request)

    def take(self, now: float, beside: int = 0) -> Batch | None:
        """Take the texts of the next batch, all of one version and lane; None if nothing waits.

        `beside`: so many interactive batches run already, beside which another has a share of the processor.
        """
        for _ in Lane:  # a lane whose texts are all late has nothing to give
            batch = self._take(self._next_lane(now, bulk=self.lanes[Lane.BULK].texts > 0), now, beside)
            if batch is not None:
                self._settle(batch, now, bulk_waits=self.lanes[Lane.BULK].texts > 0)
                return batch
        return None

    def take_interactive(self, now: float) -> Batch | None:
        """Take interactive texts to run while a bulk batch pauses; None if none wait, or bulk has its turn."""
        return self._take_interactive(now, bulk=True, beside=0)

    def take_beside(self, now: float, beside: int) -> Batch | None:
        """Take interactive texts to run beside other interactive batches; None if none wait, or bulk has its turn."""
        return self._take_interactive(now, bulk=self.lanes[Lane.BULK].texts > 0, beside=beside)

    def _take_interactive(self, now: float, *, bulk: bool, beside: int) -> Batch | None:
        if not self.lanes[Lane.INTERACTIVE].texts or self._next_lane(now, bulk=bulk) is Lane.BULK:
            return None
        batch = self._take(Lane.INTERACTIVE, now, beside)
        if batch is not None:
            self._settle(batch, now, bulk_waits=bulk)
        return batch

    def _next_lane(self, now: float, *, bulk: bool) -> Lane:
        interactive = self.lanes[Lane.INTERACTIVE].texts > 0
        turn = self._pace.turn(Lane.BULK, None, now)
        return policy.next_lane(interactive=interactive, bulk=bulk, owed=self._owed, turn=turn)

    def _take(self, lane: Lane, now: float, beside: int) -> Batch | None:
        return self.lanes[lane].take(now, self._pace, self._drop_late, beside)

    def _drop_late(self, request: Request) -> None:
        self.late.append((request, self.drop(request)))

    def _settle(self, batch: Batch, now: float, *, bulk_waits: bool) -> None:
        """Keep the account between the lanes."""
        tokens = batch.size
        self._owed = policy.owed_after(
            self._owed,
            batch.lane,
            tokens,
            self._share,
            interactive_waits=self.lanes[Lane.INTERACTIVE].texts > 0,
            bulk_waits=bulk_waits,
        )
        if batch.lane is Lane.INTERACTIVE:
            self.interactive.add(tokens, now)
