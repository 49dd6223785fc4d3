"""Nothing that somebody writes into Redis makes a worker, the command line or the server run it."""

from __future__ import annotations

import json
import os
import pickle
import time
import zlib
from base64 import b64encode
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from rq import Callback, Queue
from rq.job import Job
from rq.webhook import Webhook

from munjang.bulk import EMBED_FILE, EMBED_SHARD, FINISH_FILE, FINISH_LOAD, LOAD_SHARD, QUEUE
from munjang.bulk.serializer import PlainJson

if TYPE_CHECKING:
    from pathlib import Path


class Gadget:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._path}",)


@pytest.fixture
def trap(bench: Any) -> Path:
    """The file that shows that a gadget ran."""
    return bench.folder / "gadget-ran"


def failed(bench: Any, rq_id: str) -> str:
    """Wait until an RQ job failed; why."""
    job = Job.fetch(rq_id, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: job.get_status() == "failed", "the refusal")
    return str(job.latest_result().exc_string)


def plant(bench: Any, rq_id: str, **fields: bytes) -> None:
    """Write an RQ job by hand and queue it."""
    now = b"2026-01-01T00:00:00.000000Z"
    base = {"data": b"", "status": b"queued", "origin": QUEUE.encode(), "created_at": now, "enqueued_at": now}
    bench.redis.hset(f"rq:job:{rq_id}", mapping=base | fields)
    bench.redis.rpush(f"rq:queue:{QUEUE}", rq_id)


def test_a_function_that_is_not_on_the_list_is_refused_with_a_clear_message(bench: Any, trap: Path) -> None:
    bench.start()
    for function in ("os.system", "builtins.eval", "subprocess.call", "munjang_worker.jobs.current", "munjang"):
        for serializer in ("pickle", "json"):
            queue = Queue(QUEUE, connection=bench.redis, serializer=serializer)
            rq_id = queue.enqueue(function, f"touch {trap}").id
            assert f"refused: '{function}' is not a function that this worker runs" in failed(bench, rq_id)
    rq_id = bench.rq("os.system", f"touch {trap}")
    assert "refused: 'os.system'" in failed(bench, rq_id)
    assert not trap.exists()


def test_gadgets_in_data_arguments_meta_and_results_never_run(bench: Any, trap: Path) -> None:
    worker = bench.start(HEARTBEAT_SECONDS="0.2", LEASE_SECONDS="1")
    gadget = pickle.dumps(Gadget(trap))
    call = pickle.dumps((EMBED_FILE, None, (Gadget(trap), "/out"), {}))
    plain = json.dumps([EMBED_FILE, None, ["/in.jsonl"], {}]).encode()
    result = {"type": 1, "return_value": b64encode(gadget)}
    bench.redis.xadd("rq:results:planted-4", result)
    bench.redis.xadd("rq:results:planted-6", result)
    plant(bench, "planted-1", data=zlib.compress(gadget))
    plant(bench, "planted-2", data=gadget)
    plant(bench, "planted-3", data=zlib.compress(call))
    plant(bench, "planted-4", data=zlib.compress(plain), meta=gadget, result=gadget)
    for rq_id in ("planted-1", "planted-2", "planted-3", "planted-4"):
        failed(bench, rq_id)
    bench.redis.hset("rq:job:planted-5", mapping={"data": gadget, "meta": gadget, "status": "started", "origin": QUEUE})
    bench.redis.zadd(f"rq:wip:{QUEUE}", {"planted-5:execution": time.time() - 10})  # what maintenance cleans up
    for registry in ("deferred", "ready", "scheduled", "canceled", "failed", "finished"):
        bench.redis.zadd(f"rq:{registry}:{QUEUE}", {"planted-5": 1})
    bench.redis.rpush(f"rq:queue:{QUEUE}:intermediate", "planted-5")
    bench.redis.sadd("rq:groups", "group")
    bench.redis.sadd("rq:group:group", "planted-5")
    bench.until(lambda: not bench.redis.zscore(f"rq:wip:{QUEUE}", "planted-5:execution"), "maintenance")
    bench.finish(bench.submit(bench.write(3)))
    assert worker.poll() is None
    assert not trap.exists()


def test_gadgets_never_run_in_those_who_look_at_jobs(bench: Any, trap: Path) -> None:
    gadget = pickle.dumps(Gadget(trap))
    call = pickle.dumps((EMBED_FILE, None, (Gadget(trap), "/out"), {}))
    plant(bench, "planted-1", data=zlib.compress(gadget), meta=gadget)
    plant(bench, "planted-2", data=zlib.compress(call), meta=gadget, result=gadget)
    assert bench.queue.recent() == []
    for rq_id in ("planted-1", "planted-2"):
        with pytest.raises(Exception, match="cannot be read"):
            bench.queue.get(rq_id)
    assert not trap.exists()


def test_call_backs_are_not_run_and_web_hooks_not_sent(bench: Any, trap: Path) -> None:
    bench.start()
    queue = Queue(QUEUE, connection=bench.redis)
    callbacks = {name: Callback("os.system") for name in ("on_success", "on_failure", "on_stopped")}
    hooks = [Webhook("http://127.0.0.1:1/", status) for status in ("finished", "failed")]
    job = queue.enqueue(EMBED_FILE, str(bench.write(3)), str(bench.folder / "출력"), webhooks=hooks, **callbacks)
    bench.finish(job.id)
    bench.until(lambda: job.get_status() == "finished", "the step's end")
    wrong = queue.enqueue(EMBED_FILE, "/없음.jsonl", str(bench.folder / "출력2"), webhooks=hooks, **callbacks)
    bench.finish(wrong.id, "failed")
    assert "webhook" not in bench.logs()
    assert "os.system" not in bench.logs()


def test_a_method_of_an_object_is_refused(bench: Any) -> None:
    bench.start()
    plant(bench, "planted", data=json.dumps([EMBED_FILE, {"an": "object"}, ["/in", "/out"], {}]).encode())
    assert "refused" in failed(bench, "planted")


def test_steps_with_made_up_arguments_fail_or_do_nothing(bench: Any) -> None:
    worker = bench.start()
    made_up: list[Any] = [["/in", "/out"], ["job-0", "/out", "f", "x"], ["job-0", "/out", "f", 0, 5], [[], {}, 5], "ab"]
    functions = (EMBED_FILE, EMBED_SHARD, FINISH_FILE)
    former = tuple(path.removeprefix("munjang_") for path in functions)
    named = (*functions, *former, LOAD_SHARD, FINISH_LOAD)
    for number, (function, arguments) in enumerate(product(named, made_up)):
        plant(bench, f"planted-{number}", data=json.dumps([function, None, arguments, {}]).encode())
        job = Job.fetch(f"planted-{number}", connection=bench.redis, serializer=PlainJson)
        bench.until(lambda job=job: job.get_status() in {"failed", "finished"}, "the end")
    assert worker.poll() is None
    bench.finish(bench.submit(bench.write(3)))
