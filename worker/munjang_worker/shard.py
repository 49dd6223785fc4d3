"""One shard's rows read, encoded, written and committed."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from munjang.encoder.postprocess import packed
from munjang.errors import InvalidJob
from munjang.vectors import unpack
from munjang_worker.encoding import BlockEncoder
from munjang_worker.interrupts import Interrupted, Reason
from munjang_worker.pipeline import run_pipeline
from munjang_worker.preparing import Preparer, join
from munjang_worker.reading.rows import read_pieces
from munjang_worker.storage import sha256_of
from munjang_worker.tally import Tally
from munjang_worker.writing.result import Part, ShardResult, load_result, save_errors
from munjang_worker.writing.writer import open_writer, part_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from munjang.encoder.contract import Encoder
    from munjang_worker.encoding import Encoded
    from munjang_worker.plan import Plan, Shard
    from munjang_worker.preparing import Prepared
    from munjang_worker.reading.block import Block
    from munjang_worker.storage import Folder
    from munjang_worker.writing.writer import ShardWriter


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
            poll: called between batches and pieces, from two threads; what it raises leaves nothing behind.
            report: is told at the beginning and after every batch.

        Raises:
            Interrupted: another worker, which took this one for dead, has done the shard.
            InvalidJob: the input does not hold the rows that were planned: it changed.
            EngineUnavailable: the model fails whatever the text.
            OSError: the input cannot be read, or the output cannot be written.
        """
        report(self.tally)
        names = part_names(self._plan.spec.format, self._number, len(self._plan.shards))
        with ExitStack() as stack:
            paths = tuple(stack.enter_context(self._folder.create(name)) for name in names)
            writer = open_writer(self._plan, paths, self._metadata())
            try:
                with closing(read_pieces(self._plan, self._shard, self._folder)) as pieces:
                    run_pipeline(
                        self._preparing(pieces, encoder, max_chars, poll),
                        self._encoding(encoder, poll, report),
                        self._writing(writer, encoder),
                    )
            finally:
                writer.close()
            self._check_rows()
            self._check_alone()
            parts = tuple(_part(name, path) for name, path in zip(names, paths, strict=True))
        save_errors(self._folder, self._number, self.tally.errors)
        return self._commit(parts)

    def _preparing(
        self, pieces: Iterator[Block], encoder: Encoder, max_chars: int, poll: Callable[[], None]
    ) -> Callable[[], Prepared | None]:
        """What gives the next block, read and tokenised piece by piece."""
        spec = self._plan.spec
        preparer = Preparer(encoder, prompt_name=spec.prompt_name, cut=spec.truncation == "end", max_chars=max_chars)

        def prepare() -> Prepared | None:
            parts: list[Prepared] = []
            while sum(map(len, parts)) < self._plan.block_rows and (piece := next(pieces, None)):
                poll()
                parts.append(preparer(piece))
            return join(parts) if parts else None

        return prepare

    def _encoding(
        self, encoder: Encoder, poll: Callable[[], None], report: Callable[[Tally], None]
    ) -> Callable[[Prepared], Encoded]:
        """What runs the model on a block, and tells of it."""

        def forwarded(rows: int) -> None:
            self.tally.ahead += rows
            report(self.tally)

        encode = BlockEncoder(encoder, batch_tokens=self._plan.batch_tokens, poll=poll, forwarded=forwarded)

        def encode_and_count(prepared: Prepared) -> Encoded:
            encoded = encode(prepared)
            self.tally.add(encoded)
            report(self.tally)
            return encoded

        return encode_and_count

    def _writing(self, writer: ShardWriter, encoder: Encoder) -> Callable[[Encoded], None]:
        """What writes a block in the job's precision."""
        plan = self._plan

        def write(encoded: Encoded) -> None:
            count = len(encoded.positions)
            if count:
                data = packed(encoded.vectors, plan.options, encoder.info)
                vectors = unpack(data, count, plan.dimensions, plan.spec.precision)
                writer.write(encoded.table.take(encoded.positions) if encoded.problems else encoded.table, vectors)

        return write

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
