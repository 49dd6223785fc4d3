"""One shard's rows read, encoded, written and committed. The next block is prepared while the model works on one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.bulk.record import ShardProgress
from munjang.encoder.postprocess import packed
from munjang.errors import InvalidJob
from munjang.vectors import unpack
from worker.encoding import BlockEncoder
from worker.interrupts import Interrupted, Reason
from worker.reading.rows import read_blocks
from worker.storage import sha256_of
from worker.writing.result import Part, ShardResult, load_result, save_errors
from worker.writing.writer import open_writer, part_names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from munjang.encoder.contract import Encoder
    from worker.encoding import Encoded, Prepared
    from worker.plan import Plan, Shard
    from worker.storage import Folder
    from worker.writing.writer import ShardWriter


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
        ids = encoded.block.table.column("id")
        for position, problem in sorted(encoded.problems.items()):
            row_id = ids[position].as_py()
            row = {"row": encoded.block.first + position, "id": row_id, "reason": problem.reason}
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


class ShardJob:
    """Works on one shard of a plan."""

    def __init__(self, plan: Plan, number: int, folder: Folder, worker: str) -> None:
        self._plan = plan
        self._number = number
        self._shard: Shard = plan.shards[number]
        self._folder = folder
        self._worker = worker
        self.tally = Tally()

    def run(
        self, encoder: Encoder, *, max_chars: int, poll: Callable[[], None], report: Callable[[Tally], None]
    ) -> ShardResult:
        """Do the work and commit it.

        Args:
            encoder: of the plan's version.
            max_chars: longer texts are errors.
            poll: called between batches; what it raises leaves nothing behind.
            report: is told at the beginning and after every batch.

        Raises:
            Interrupted: another worker, which took this one for dead, has done the shard.
            InvalidJob: the input does not hold the rows that were planned: it changed.
            EngineUnavailable: the model fails whatever the text.
            OSError: the input cannot be read, or the output cannot be written.
        """
        spec = self._plan.spec

        def forwarded(rows: int) -> None:
            self.tally.ahead += rows
            report(self.tally)

        blocks = BlockEncoder(
            encoder,
            prompt_name=spec.prompt_name,
            cut=spec.truncation == "end",
            batch_tokens=self._plan.batch_tokens,
            max_chars=max_chars,
            poll=poll,
            forwarded=forwarded,
        )
        report(self.tally)
        names = part_names(spec.format, self._number)
        with ExitStack() as stack:
            paths = tuple(stack.enter_context(self._folder.create(name)) for name in names)
            writer = open_writer(self._plan, paths, self._metadata())
            try:
                with closing(self._prepared(blocks)) as ahead:
                    for prepared in ahead:
                        self._write(blocks.encode(prepared), writer, encoder)
                        report(self.tally)
            finally:
                writer.close()
            self._check_rows()
            self._check_alone()
            parts = tuple(_part(name, path) for name, path in zip(names, paths, strict=True))
        save_errors(self._folder, self._number, self.tally.errors)
        return self._commit(parts)

    def _prepared(self, blocks: BlockEncoder) -> Generator[Prepared]:
        """Blocks read and tokenised, always one ahead of the one that the model works on."""
        rows = read_blocks(self._plan, self._shard, self._folder)

        def prepare() -> Prepared | None:
            block = next(rows, None)
            return None if block is None else blocks.prepare(block)

        with ThreadPoolExecutor(1, "prepare") as pool:
            ahead = pool.submit(prepare)
            while prepared := ahead.result():
                ahead = pool.submit(prepare)
                yield prepared

    def _write(self, encoded: Encoded, writer: ShardWriter, encoder: Encoder) -> None:
        self.tally.add(encoded)
        if encoded.positions:
            data = packed(encoded.vectors, self._plan.options, encoder.info)
            precision = self._plan.spec.precision
            vectors = unpack(data, len(encoded.positions), self._plan.dimensions, precision)
            writer.write(encoded.block.table.take(encoded.positions), vectors)

    def _check_rows(self) -> None:
        found = self.tally.rows + self.tally.failed
        if found != self._shard.rows:
            msg = f"the input has changed: shard {self._number} has {found} rows, and {self._shard.rows} were planned"
            raise InvalidJob(msg, field="input")

    def _check_alone(self) -> None:
        """Leave what another worker has committed as it is: its files may be in the manifest already."""
        if load_result(self._folder, self._number) is not None:
            raise Interrupted(Reason.OVERTAKEN)

    def _commit(self, parts: tuple[Part, ...]) -> ShardResult:
        result = ShardResult(
            number=self._number,
            rows=self.tally.rows,
            failed=self.tally.failed,
            tokens=self.tally.tokens,
            truncated=self.tally.truncated,
            seconds=round(self.tally.seconds, 3),
            parts=parts,
            worker=self._worker,
        )
        result.save(self._folder)
        return result

    def _metadata(self) -> dict[str, str]:
        plan = self._plan
        return {
            "munjang.version": str(plan.version),
            "munjang.model_sha256": plan.identity["model"],
            "munjang.fingerprint": plan.fingerprint,
            "munjang.dimensions": str(plan.dimensions),
            "munjang.precision": str(plan.spec.precision),
            "munjang.int8_scale": repr(plan.int8_scale),
            "munjang.normalized": str(plan.spec.normalize).lower(),
            "munjang.prompt_name": plan.identity["prompt_name"],
            "munjang.truncation": plan.spec.truncation,
            "munjang.first_row": str(self._shard.first_row),
        }


def _part(name: str, path: Path) -> Part:
    return Part(name=name, size=path.stat().st_size, sha256=sha256_of(path))
