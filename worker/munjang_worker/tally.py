"""What a shard came to so far: rows, bad rows with their reasons, tokens; for its record and for those who watch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.bulk.job import ShardProgress

if TYPE_CHECKING:
    from munjang_worker.encoding import Encoded


@dataclass(slots=True)
class Tally:
    """What a shard came to so far; `ahead` counts the rows of the block in hand."""

    rows: int = 0
    failed: int = 0
    tokens: int = 0
    truncated: int = 0
    ahead: int = 0
    begun: float = field(default_factory=time.monotonic)
    errors: list[dict[str, object]] = field(default_factory=list)

    def add(self, encoded: Encoded) -> None:
        """Count a block."""
        self.ahead = 0
        self.rows += len(encoded.positions)
        self.failed += len(encoded.problems)
        self.tokens += encoded.tokens
        self.truncated += encoded.truncated
        ids = encoded.table.column("id")
        for position, problem in sorted(encoded.problems.items()):
            row_id = ids[position].as_py()
            row = {"row": encoded.first + position, "id": row_id, "reason": problem.reason}
            self.errors.append(row | {"message": problem.message})

    @property
    def seconds(self) -> float:
        """Since the shard was begun."""
        return time.monotonic() - self.begun

    def progress(self, worker: str) -> ShardProgress:
        """As others are told."""
        done = self.rows + self.failed + self.ahead
        rate = done / self.seconds if self.seconds > 0 else 0.0
        return ShardProgress(done, self.failed, self.tokens, rate, worker, time.time())
