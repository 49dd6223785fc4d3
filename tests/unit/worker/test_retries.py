"""When a failed step is tried again: at once, or, while the registry is away, after pauses that cover a minute."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis import Redis

from munjang.errors import EngineUnavailable, InvalidJob, RegistryUnavailable, VersionNotFound
from munjang.settings import WorkerSettings
from munjang_worker import runtime
from munjang_worker.rq_queue import BulkJob


class Store:
    """A registry that holds some versions, or cannot be read."""

    def __init__(self, *versions, error=None):
        self._versions, self._error = list(versions), error

    def versions(self):
        if self._error:
            raise self._error
        return self._versions


@pytest.fixture
def failed(monkeypatch):
    """A step after so many failures by an error, beside a registry."""

    def fail(error, store, *, left):
        monkeypatch.setattr(runtime, "_runtime", [SimpleNamespace(settings=WorkerSettings(), registry=store)])
        job = BulkJob("step", connection=Redis())
        job._func_name, job._args, job._kwargs, job._instance = "munjang_worker.jobs.embed_file", (), {}, None
        job.retries_left = left

        def raises(*_, **__):
            raise error

        monkeypatch.setitem(BulkJob.func.fget.__globals__["FUNCTIONS"], "munjang_worker.jobs.embed_file", raises)
        with pytest.raises(type(error)):
            job._execute()
        return job

    return fail


def test_the_pauses_of_a_step_that_finds_no_registry_grow_and_cover_a_minute(failed):
    first = WorkerSettings().step_attempts - 1
    jobs = [failed(RegistryUnavailable("fort"), Store(1), left=left) for left in range(first, 0, -1)]
    pauses = [job.get_retry_interval() for job in jobs]
    assert pauses == [5, 20, 60]
    assert sum(pauses) > 60


@pytest.mark.parametrize("store", [Store(), Store(error=RegistryUnavailable("fort"))], ids=["empty", "unreadable"])
def test_a_version_that_is_not_found_where_none_is_at_all_is_waited_for(failed, store):
    job = failed(VersionNotFound("keine"), store, left=3)
    assert (job.retries_left, job.get_retry_interval()) == (3, 5)


@pytest.mark.parametrize("error", [VersionNotFound("keine"), InvalidJob("falsch")], ids=["version", "job"])
def test_what_will_be_as_wrong_later_is_not_tried_again(failed, error):
    assert failed(error, Store(1, 2), left=3).retries_left == 0


def test_a_broken_engine_is_tried_again_at_once_by_another_process(failed):
    job = failed(EngineUnavailable("kaputt"), Store(1), left=3)
    assert (job.retries_left, job.get_retry_interval()) == (3, 0)
