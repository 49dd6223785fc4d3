"""One shard: its rows are read, encoded and written at once, then committed with a record in the output folder."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from munjang.bulk.job import ShardProgress
from munjang.encoder.postprocess import packed
from munjang.encoder.prompting import prompting
from munjang.errors import InvalidJob, MunjangError
from munjang.vectors import unpack
from munjang_worker.column_types import json_value
from munjang_worker.encoding import BlockEncoder, BlockTokenizer, join_blocks
from munjang_worker.interrupts import Interrupted, Reason
from munjang_worker.plan import Record
from munjang_worker.reader import read_pieces
from munjang_worker.storage import sha256_of
from munjang_worker.writers import dumps, open_writer, part_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from munjang.encoder.contract import Encoder
    from munjang_worker.block import Block
    from munjang_worker.encoding import EncodedBlock, TokenizedBlock
    from munjang_worker.plan import Plan, Shard
    from munjang_worker.storage import Folder
    from munjang_worker.writers import ShardWriter

Ready = TypeVar("Ready")
Done = TypeVar("Done")

SHARDS = ".munjang/shards"
ERRORS = ".munjang/errors"


class Part(Record):
    """One output file; `size` in bytes."""

    name: str
    size: int
    sha256: str


class ShardResult(Record):
    """A finished shard. It is finished once this record is in the output folder: it is written last.

    Attributes:
        number: which shard of the plan.
        rows: rows with a vector.
        failed: rows in the error file.
        tokens: what the model read.
        truncated: texts that were cut at the model's limit.
        seconds: how long it took.
        parts: its files.
        worker: who made it.
    """

    number: int
    rows: int
    failed: int
    tokens: int
    truncated: int
    seconds: float
    parts: tuple[Part, ...]
    worker: str

    def save(self, folder: Folder) -> None:
        """Commit the shard."""
        folder.write(_record_name(self.number), self.model_dump_json().encode())


@dataclass(slots=True)
class ShardCounts:
    """The counts of a shard so far, and its bad rows; `ahead` counts encoded rows of the current block."""

    rows: int = 0
    failed: int = 0
    tokens: int = 0
    truncated: int = 0
    ahead: int = 0
    begun: float = field(default_factory=time.monotonic)
    errors: list[dict[str, object]] = field(default_factory=list)

    def add(self, encoded: EncodedBlock) -> None:
        """Count a block."""
        self.ahead = 0
        self.rows += len(encoded.positions)
        self.failed += len(encoded.problems)
        self.tokens += encoded.tokens
        self.truncated += encoded.truncated
        ids = encoded.table.column("id")
        for position, problem in sorted(encoded.problems.items()):
            row_id = json_value(ids, position)
            row = {"row": encoded.first + position, "id": row_id, "reason": problem.reason}
            self.errors.append(row | {"message": problem.message})

    @property
    def seconds(self) -> float:
        """Seconds since the shard was started."""
        return time.monotonic() - self.begun

    def progress(self, worker: str) -> ShardProgress:
        """The counts as they are reported; `worker` is the worker's name."""
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
        self._next_row = self._shard.first_row
        self.counts = ShardCounts()

    def run(
        self, encoder: Encoder, *, max_chars: int, poll: Callable[[], None], report: Callable[[ShardCounts], None]
    ) -> ShardResult:
        """Do the work and commit it.

        Args:
            encoder: of the plan's version.
            max_chars: longer texts, the job's own prompt included, are errors.
            poll: called between batches and pieces, from two threads; what it raises leaves nothing behind.
            report: called with the counts at the start and after every batch.

        Raises:
            Interrupted: another worker, which took this one for dead, has done the shard.
            InvalidJob: the input does not hold the rows that were planned: it changed.
            EngineUnavailable: the model fails whatever the text.
            OSError: the input cannot be read, or the output cannot be written.
        """
        report(self.counts)
        spec = self._plan.spec
        tokenizer = BlockTokenizer(
            encoder=encoder,
            how=prompting(encoder.info, prompt_name=spec.prompt_name, prompt=spec.prompt, role=spec.role),
            cut=spec.truncation == "end",
            max_chars=max_chars - len(spec.prompt or ""),
        )
        names = part_names(spec.format, self._number, len(self._plan.shards))
        with ExitStack() as stack:
            paths = tuple(stack.enter_context(self._folder.create(name)) for name in names)
            writer = open_writer(self._plan, paths, self._metadata())
            try:
                with closing(read_pieces(self._plan, self._shard, self._folder)) as pieces:
                    run_pipeline(
                        lambda: self._tokenize_next(pieces, tokenizer, poll),
                        self._encode_function(encoder, poll, report),
                        lambda encoded: self._write(encoded, writer, encoder),
                    )
            finally:
                writer.close()
            self._check_rows()
            self._check_alone()
            parts = tuple(
                Part(name=name, size=path.stat().st_size, sha256=sha256_of(path))
                for name, path in zip(names, paths, strict=True)
            )
        save_errors(self._folder, self._number, self.counts.errors)
        return self._commit(parts)

    def _tokenize_next(
        self, pieces: Iterator[Block], tokenizer: BlockTokenizer, poll: Callable[[], None]
    ) -> TokenizedBlock | None:
        """The next block, read and tokenized piece by piece; None at the end."""
        parts: list[TokenizedBlock] = []
        count = 0
        while count < self._plan.block_rows:
            with self._located(self._next_row):
                piece = next(pieces, None)
            if piece is None:
                break
            poll()
            count += len(piece)
            self._next_row = piece.first + len(piece)
            with self._located(piece.first, self._next_row):
                parts.append(tokenizer(piece))
        return join_blocks(parts) if parts else None

    def _encode_function(
        self, encoder: Encoder, poll: Callable[[], None], report: Callable[[ShardCounts], None]
    ) -> Callable[[TokenizedBlock], EncodedBlock]:
        """A function that runs the model on a block, counts its rows and reports."""

        def forwarded(rows: int) -> None:
            self.counts.ahead += rows
            report(self.counts)

        run_model = BlockEncoder(encoder=encoder, batch_tokens=self._plan.batch_tokens, poll=poll, forwarded=forwarded)

        def encode(block: TokenizedBlock) -> EncodedBlock:
            with self._located(block.first, block.first + len(block)):
                encoded = run_model(block)
            self.counts.add(encoded)
            report(self.counts)
            return encoded

        return encode

    def _write(self, encoded: EncodedBlock, writer: ShardWriter, encoder: Encoder) -> None:
        """Write a block in the job's precision."""
        plan, count = self._plan, len(encoded.positions)
        if not count:
            return
        with self._located(encoded.first, encoded.first + len(encoded)):
            data = packed(encoded.vectors, plan.options, encoder.info)
            vectors = unpack(data, count, plan.dimensions, plan.spec.precision)
            writer.write(encoded.table.take(encoded.positions) if encoded.problems else encoded.table, vectors)

    @contextmanager
    def _located(self, first: int, end: int | None = None) -> Iterator[None]:
        """Add the rows and their files to an error that names neither."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, MunjangError):
                urls = self._plan.urls(self._number, first, end or first + 1)
                rows = f"from row {first} on" if end is None else f"in rows {first} to {end - 1}"
                error.add_note(f"{rows}, of {', '.join(map(repr, urls))}")
            raise

    def _check_rows(self) -> None:
        found = self.counts.rows + self.counts.failed
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
            rows=self.counts.rows,
            failed=self.counts.failed,
            tokens=self.counts.tokens,
            truncated=self.counts.truncated,
            seconds=round(self.counts.seconds, 3),
            parts=parts,
            worker=self._worker,
        )
        result.save(self._folder)
        return result

    def _metadata(self) -> dict[str, str]:
        plan = self._plan
        return {
            "munjang.version": str(plan.version),
            "munjang.space_id": plan.space_id,
            "munjang.model_sha256": plan.identity["model"],
            "munjang.fingerprint": plan.fingerprint,
            "munjang.dimensions": str(plan.dimensions),
            "munjang.precision": str(plan.spec.precision),
            "munjang.int8_scale": repr(plan.int8_scale),
            "munjang.normalized": str(plan.spec.normalize).lower(),
            "munjang.prompt_name": plan.identity["prompt_name"],
            "munjang.role": plan.spec.role or "",
            "munjang.truncation": plan.spec.truncation,
            "munjang.first_row": str(self._shard.first_row),
        }


def load_result(folder: Folder, number: int) -> ShardResult | None:
    """A finished shard's record; None if it is not finished."""
    data = folder.read(_record_name(number))
    if data is None:
        return None
    try:
        return ShardResult.model_validate_json(data)
    except ValidationError:
        return None


def forget_result(folder: Folder, number: int) -> None:
    """Remove a shard's record, so that it counts as not finished."""
    folder.remove(_record_name(number))


def save_errors(folder: Folder, number: int, errors: Sequence[dict[str, object]]) -> None:
    """Write a shard's bad rows, if there are any."""
    if not errors:
        return
    lines = [dumps(error) + "\n" for error in errors]
    folder.write(errors_name(number), "".join(lines).encode("utf-8", "backslashreplace"))


def errors_name(number: int) -> str:
    """Where a shard's bad rows are; nowhere if it has none."""
    return f"{ERRORS}/{number:06d}.jsonl"


def run_pipeline(
    prepare: Callable[[], Ready | None], encode: Callable[[Ready], Done], write: Callable[[Done], None]
) -> None:
    """Prepare, encode and write one block after another, in order, until there is none: three stages at once.

    At most three blocks are in memory. What a stage raises is passed on once the other two have finished their block.

    Args:
        prepare: gives the next block, or None; runs on a thread of its own.
        encode: runs here.
        write: runs on a thread of its own.
    """
    with ThreadPoolExecutor(1, "prepare") as ahead, ThreadPoolExecutor(1, "write") as behind:
        ready = ahead.submit(prepare)
        written: Future[None] | None = None
        while (block := ready.result()) is not None:
            ready = ahead.submit(prepare)
            done = encode(block)
            if written:
                written.result()
            written = behind.submit(write, done)
        if written:
            written.result()


def _record_name(number: int) -> str:
    return f"{SHARDS}/{number:06d}.json"
