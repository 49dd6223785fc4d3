"""Worker processes and those who started them: several at once, a parent that is killed, a shell that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.usefixtures("first_redis_only")


def alive(pid: int) -> bool:
    """Whether a process is there and runs; one that nobody waits for is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def names(bench: Any) -> list[str]:
    """The names of all workers that were ready so far; in each stands its process id."""
    return [line["worker"] for line in bench.said("worker ready")]


def pid_of(name: str) -> int:
    return int(name.split("-")[-2])


def test_several_processes_share_the_work_and_dead_ones_are_replaced(bench: Any) -> None:
    bench.gate.touch()
    parent = bench.start_fresh(WORKER_PROCESSES="2")
    job_id = bench.submit(bench.write(6000))
    bench.until(lambda: len({pid for pid, _ in bench.trace("forward")}) == 2, "two processes")
    os.kill(bench.trace("forward")[0][0], signal.SIGKILL)
    bench.until(lambda: bench.said("a worker process ended; starting another"), "the replacement")
    bench.gate.unlink()
    bench.finish(job_id)
    assert [row["id"] for row in bench.rows()] == list(range(6000))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 0
    assert not any(alive(pid) for pid, _ in bench.trace("forward"))


def test_processes_whose_parent_was_killed_end_by_themselves(bench: Any) -> None:
    bench.gate.touch()
    parent = bench.start_fresh(WORKER_PROCESSES="2")
    job_id = bench.submit(bench.write(1))
    bench.until(lambda: bench.trace("held") and len(names(bench)) == 2, "one that works and one that waits")
    parent.kill()
    parent.wait(10)
    bench.gate.unlink()
    bench.until(lambda: not any(alive(pid_of(name)) for name in names(bench)), "the end of both")
    bench.start()
    bench.finish(job_id)


def test_a_worker_outlives_the_shell_that_started_it(bench: Any) -> None:
    bench.gate.touch()
    shell = bench.start_fresh("sh", "-c", '"$@" & wait', "sh")
    job_id = bench.submit(bench.write(2000))
    bench.until(lambda: bench.trace("held"), "a forward")
    [name] = names(bench)
    shell.kill()
    shell.wait(10)
    try:
        heard = bench.redis.hget(f"rq:worker:{name}", "last_heartbeat")
        for _ in range(2):  # it has looked after its parent since
            heard = bench.until(
                lambda then=heard: (now := bench.redis.hget(f"rq:worker:{name}", "last_heartbeat")) != then and now,
                "a heartbeat",
            )
        bench.gate.unlink()
        bench.finish(job_id)
        assert {pid for pid, _ in bench.trace("forward")} == {pid_of(name)}
    finally:
        os.kill(pid_of(name), signal.SIGTERM)
        bench.until(lambda: not alive(pid_of(name)), "its end")


def test_a_parent_of_several_processes_loads_no_model_library() -> None:
    code = "import sys, munjang_worker.supervisor, munjang_worker.__main__; print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    for heavy in ("'torch'", "'transformers'", "'pyarrow'", "'rq'"):
        assert heavy not in out
