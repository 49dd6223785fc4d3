"""Which functions a worker runs: five, by their current and former names, looked up and never imported."""

from __future__ import annotations

import pytest
from redis import Redis

from munjang.bulk import EMBED_FILE, EMBED_SHARD, FINISH_FILE, FINISH_LOAD, LOAD_SHARD
from munjang.errors import InvalidJob
from munjang_worker import jobs
from munjang_worker.rq_queue import BulkJob


def named(path: object, instance: object = None) -> BulkJob:
    """An RQ job that names a function."""
    job = BulkJob("step", connection=Redis())
    job._func_name, job._args, job._kwargs, job._instance = path, (), {}, instance
    return job


@pytest.mark.parametrize(
    ("path", "function"),
    [(EMBED_FILE, jobs.embed_file), (EMBED_SHARD, jobs.embed_shard), (FINISH_FILE, jobs.finish_file)],
)
def test_a_function_is_found_by_its_current_and_its_former_name(path: str, function: object) -> None:
    assert named(path).func is function
    assert named(path.removeprefix("munjang_")).func is function


@pytest.mark.parametrize(("path", "function"), [(LOAD_SHARD, jobs.load_shard), (FINISH_LOAD, jobs.finish_load)])
def test_the_steps_of_loading_are_found(path: str, function: object) -> None:
    assert named(path).func is function


@pytest.mark.parametrize("path", ["os.system", "worker.jobs.current", "munjang_worker.jobs._run_shard", "", None, []])
def test_anything_else_is_refused(path: object) -> None:
    with pytest.raises(InvalidJob, match="refused"):
        _ = named(path).func


@pytest.mark.parametrize("path", [EMBED_FILE, "worker.jobs.embed_file"])
def test_a_method_of_an_object_is_refused_by_either_name(path: str) -> None:
    with pytest.raises(InvalidJob, match="refused"):
        _ = named(path, instance={"an": "object"}).func
