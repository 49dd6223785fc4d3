"""What KEDA counts, counted on the real queue: a step that runs keeps its worker, and nothing left to do keeps none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
OBJECTS = yaml.safe_load_all((ROOT / "deploy/k8s/components/keda/worker.yaml").read_text(encoding="utf-8"))
(SCALED,) = [each["spec"] for each in OBJECTS if each["kind"] == "ScaledObject"]


def length(redis: Any, key: str) -> int:
    """How long a key is, by its kind, as KEDA's Redis scaler counts."""
    return int(redis.zcard(key) if redis.type(key) == b"zset" else redis.llen(key))


def workers_wanted(redis: Any) -> int:
    """How many workers KEDA would want."""
    counts = {each["name"]: length(redis, each["metadata"]["listName"]) for each in SCALED["triggers"]}
    modifiers = SCALED["advanced"]["scalingModifiers"]
    value = sum(counts[name] for name in modifiers["formula"].split(" + "))
    if value <= float(modifiers["activationTarget"]):
        return int(SCALED["minReplicaCount"])
    return min(int(SCALED["maxReplicaCount"]), math.ceil(value / float(modifiers["target"])))


def test_a_worker_is_wanted_for_each_step_that_waits_or_runs_and_none_for_none(bench: Any) -> None:
    assert workers_wanted(bench.redis) == 0
    bench.gate.touch()
    worker = bench.start()
    job_id = bench.submit(bench.write(4000))
    bench.forwarding(worker)
    assert bench.queue.depth() == (3, 1)
    assert workers_wanted(bench.redis) == 4
    others = [bench.start() for _ in range(3)]
    for each in others:
        bench.forwarding(each)
    assert bench.queue.depth() == (0, 4)
    assert workers_wanted(bench.redis) == 4, "nothing waits, but ending any worker now would end a shard that runs"
    bench.gate.unlink()
    bench.finish(job_id)
    bench.until(lambda: workers_wanted(bench.redis) == 0, "the end of all steps")


def test_a_step_that_waits_to_be_tried_again_keeps_a_worker(bench: Any) -> None:
    aside = Path(bench.registry.url).rename(bench.folder / "beiseite")
    bench.start()
    job_id = bench.submit(bench.write(10))
    bench.until(lambda: "step failed" in bench.logs(), "the failure")
    bench.until(lambda: bench.queue.depth() == (0, 0), "the pause")
    assert workers_wanted(bench.redis) == 1
    aside.rename(bench.registry.url)
    bench.finish(job_id)
