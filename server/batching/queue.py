"""Everything that waits, and which batch comes next: two lanes with an account between them. Not thread-safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.batching import policy
from server.batching.contract import Lane
from server.batching.lane_queue import LaneQueue
from server.batching.request import Batch
from server.batching.speed import Flow

if TYPE_CHECKING:
    from server.batching.pace import Pace
    from server.batching.request import Request


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

    def take(self, now: float) -> Batch | None:
        """Take the texts of the next batch, all of one version and lane; None if nothing waits."""
        for _ in Lane:  # a lane whose texts are all late has nothing to give
            lane = policy.next_lane(
                interactive=self.lanes[Lane.INTERACTIVE].texts > 0,
                bulk=self.lanes[Lane.BULK].texts > 0,
                owed=self._owed,
                turn=self._pace.turn(Lane.BULK, None, now),
            )
            taken = self.lanes[lane].take(now, self._pace, self._drop_late)
            if taken is not None:
                batch = Batch(taken[0], lane, taken[1])
                self._settle(batch, now)
                return batch
        return None

    def _drop_late(self, request: Request) -> None:
        self.late.append((request, self.drop(request)))

    def _settle(self, batch: Batch, now: float) -> None:
        """Keep the account between the lanes."""
        tokens = batch.size
        self._owed = policy.owed_after(
            self._owed,
            batch.lane,
            tokens,
            self._share,
            interactive_waits=self.lanes[Lane.INTERACTIVE].texts > 0,
            bulk_waits=self.lanes[Lane.BULK].texts > 0,
        )
        if batch.lane is Lane.INTERACTIVE:
            self.interactive.add(tokens, now)
