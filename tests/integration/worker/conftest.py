"""Real worker processes with fake models on a real Redis, and jobs for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from redis import Redis

from munjang.bulk import QUEUE
from munjang.bulk.job import JobSpec
from munjang.client.jobs import JobQueue
from munjang.registry import Description, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROGRAM = Path(__file__).with_name("fake_worker.py")
sys.path.insert(0, str(PROGRAM.parent))

from forked import Forked  # noqa: E402 - tests are no packages: it lies beside this file

RQ = Path(sys.executable).with_name("rq")
WAIT = 60.0
HASTE = {"HEARTBEAT_SECONDS": "0.5", "LEASE_SECONDS": "2", "MAINTENANCE_SECONDS": "1", "SHARD_ROWS": "1024"}


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT) -> Any:
    """Wait for something to be so; what it gave."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"{what} did not come"
        time.sleep(0.02)
    return found


@dataclass
class Bench:
    """One test's registry, queue, workers and folder."""

    folder: Path
    url: str
    registry: Registry
    processes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = JobQueue(self.url)
        self.redis: Any = Redis.from_url(self.url)
        self.gate = self.folder / "gate"
        self.broken = self.folder / "broken"

    def start(self, **settings: str) -> Forked:
        """Start a worker with some settings."""
        process = Forked(self.environment(settings), self.folder / f"log-{len(self.processes)}")
        self.processes.append(process)
        return process

    def start_fresh(self, *before: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start it as a program of its own, which may start itself again; by another command before its own."""
        log = (self.folder / f"log-{len(self.processes)}").open("wb")
        process = subprocess.Popen(
            [*before, sys.executable, str(PROGRAM)],
            env=os.environ | self.environment(settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self.processes.append(process)
        return process

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """A worker's settings as variables."""
        given = HASTE | {"HOME": str(self.folder), "REGISTRY": self.registry.url, "REDIS_URL": self.url}
        names = {f"MUNJANG_{name}": value for name, value in (given | {"LOG_FORMAT": "json"} | settings).items()}
        return names | {"FAKE_FOLDER": str(self.folder)}

    def trace(self, what: str) -> list[tuple[int, int]]:
        """The process id and version of every forward or load so far."""
        file = self.folder / "trace"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(line.split()[1]), int(line.split()[2])) for line in lines if line.startswith(what)]

    def forwarding(self, process: Forked | subprocess.Popen[bytes]) -> None:
        """Wait until a worker is at a forward."""
        until(lambda: process.pid in [pid for pid, _ in self.trace("forward")], "a forward")

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("log-*")))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of all logs that tell of an event."""
        found = [json.loads(line) for line in self.logs().splitlines() if event in line]
        return [line for line in found if line["event"] == event]

    def write(self, count: int, name: str = "입력.jsonl") -> Path:
        """An input of so many rows."""
        path = self.folder / name
        rows = ({"id": number, "text": f"문장 {number}"} for number in range(count))
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    def submit(self, path: Path, output: str = "출력", **options: Any) -> str:
        """Submit a job; its id."""
        spec = JobSpec.of_call((str(path), str(self.folder / output)), options)
        return self.queue.submit(spec)[0].id

    def rq(self, *arguments: str) -> str:
        """Enqueue by RQ's own command line; the RQ job's id."""
        command = [RQ, "enqueue", "--url", self.url, "--queue", QUEUE, *arguments]
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        return out.rsplit("'", 2)[1]

    until = staticmethod(until)

    def state(self, job_id: str) -> str:
        return str(self.queue.get(job_id).state)

    def finish(self, job_id: str, state: str = "succeeded", seconds: float = WAIT) -> Any:
        """Wait for a job to end; the job as it was then: the same work, queued twice, begins again after it."""
        get = self.queue.get
        try:
            job = until(lambda: (found := get(job_id)).state.ended and found, f"the end of {job_id}", seconds)
        except AssertionError as error:
            msg = f"{error}: {get(job_id)}\n{self.logs()}"
            raise AssertionError(msg) from None
        assert job.state == state, f"{job}\n{self.logs()}"
        return job

    def parts(self, output: str = "출력") -> list[Path]:
        return sorted((self.folder / output).glob("part-*.parquet"))

    def rows(self, output: str = "출력") -> list[dict[str, Any]]:
        """The rows of an output in order."""
        return [row for part in self.parts(output) for row in pq.read_table(part).to_pylist()]

    def versions(self, output: str = "출력") -> set[str]:
        """The versions that an output's files name."""
        return {pq.read_schema(part).metadata[b"munjang.version"].decode() for part in self.parts(output)}

    def manifest(self, output: str = "출력") -> dict[str, Any]:
        return dict(json.loads((self.folder / output / "manifest.json").read_text(encoding="utf-8")))

    def check_every_row_once(self, count: int, output: str = "출력") -> None:
        """The ids 0 to `count`, each once and in order, and a manifest that says so."""
        assert [row["id"] for row in self.rows(output)] == list(range(count))
        manifest = self.manifest(output)
        assert manifest["rows_encoded"] == count
        assert sum(shard["rows"] for shard in manifest["shards"]) == count
        assert [shard["number"] for shard in manifest["shards"]] == list(range(len(manifest["shards"])))

    def close(self) -> None:
        self.gate.unlink(missing_ok=True)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)
        self.queue.close()
        self.redis.close()
        self.check_logs()

    def check_logs(self) -> None:
        """Every line of every process is one JSON object, RQ's and Python's own too; a killed one's last may be cut."""
        for path in self.folder.glob("log-*"):
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                assert not line.endswith("\n") or isinstance(json.loads(line), dict), line


def prepared(folder: Path, url: str) -> Bench:
    """A bench with two versions, of which `stable` names the first."""
    model = folder / "모델"
    model.mkdir()
    (model / "config.json").write_text("{}")
    registry = Registry(str(folder / "registry"))
    description = Description(dimensions=8, max_tokens=128, prompts={"query": "질문: "}, int8_scale=1 / 127)
    for _ in range(2):
        registry.publish(model, description)
    registry.promote("stable", 1)
    return Bench(folder, url, registry)


@pytest.fixture
def make_bench() -> Iterator[Callable[[Path, str], Bench]]:
    """Make a bench of a folder and a queue; closed after the test."""
    with ExitStack() as stack:
        yield lambda folder, url: stack.enter_context(closing(prepared(folder, url)))


@pytest.fixture
def bench(tmp_path: Path, redis_url: str, make_bench: Callable[[Path, str], Bench]) -> Bench:
    return make_bench(tmp_path, redis_url)


@pytest.fixture
def frail_bench(tmp_path: Path, redis_server: Any, make_bench: Callable[[Path, str], Bench]) -> Iterator[Bench]:
    """The same on a Redis of its own, `frail_bench.server`, that may be killed."""
    made = make_bench(tmp_path, redis_server.url)
    made.server = redis_server  # type: ignore[attr-defined]
    yield made
    redis_server.kill()
    redis_server.start()
