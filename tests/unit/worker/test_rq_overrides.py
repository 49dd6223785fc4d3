"""The parts of RQ that the worker overrides or depends on are those of the RQ release that it was written for.

A failure here means that RQ has changed such a part: read RQ's change, adapt the override, then renew the line here.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import cached_property
from typing import Any

import pytest

from munjang_worker.rq_worker import RQ_DEPENDENCIES, RQ_OVERRIDES

KNOWN = {
    "BulkJob._execute": "653df714a38f",
    "BulkJob._handle_failure": "3b947507f202",
    "BulkJob.failure_callback": "0bccbb92ea7d",
    "BulkJob.func": "2347dd5ec691",
    "BulkJob.get_retry_interval": "c339cc6fc527",
    "BulkJob.restore": "859daf950a3e",
    "BulkJob.retry": "4a0f7cec2323",
    "BulkJob.stopped_callback": "39852cf148dc",
    "BulkJob.success_callback": "6d23cf7db33e",
    "BulkQueue.acquire_maintenance_lock": "ebdce3e6d60e",
    "BulkQueue.lmove": "7aa797ad300b",
    "BulkWorker._finalize_success": "ef21a613e808",
    "BulkWorker.clean_group_registries": "0d9b0f635f06",
    "BulkWorker.clean_registries": "e2c9790c8156",
    "BulkWorker.dequeue_timeout": "62cbfcfcde52",
    "BulkWorker.execute_job": "eae0f23110ae",
    "BulkWorker.get_heartbeat_ttl": "f83449c2eeba",
    "BulkWorker.handle_exception": "fffd9b2925ac",
    "BulkWorker.heartbeat": "63b1089fd146",
    "BulkWorker.kill_horse": "65cfacbb36ac",
    "BulkWorker.request_stop": "f934e7e7e6ee",
    "BulkWorker.should_run_maintenance_tasks": "eda86dbb1a00",
    "BulkWorker.teardown": "bfc2572817e5",
    "BulkWorker.unsubscribe": "16e9db30b9c5",
    "StepTimeLimit.handle_death_penalty": "a17686f7a463",
    "BulkJob.cancel": "226071baca07",
    "BulkJob.perform": "c8f482e08e17",
    "BulkJob.should_enqueue_at_front": "4ac151050a64",
    "BulkQueue._enqueue_job": "7f2d41e2157c",
    "BulkQueue.dequeue_any": "2452e56ad519",
    "BulkWorker.cleanup_execution": "4aef566a7d19",
    "BulkWorker.dequeue_job_and_maintain_ttl": "2715cf34d9e3",
    "BulkWorker.handle_job_failure": "7432afe53b9f",
    "BulkWorker.perform_job": "1f0e40678ae5",
    "BulkWorker.prepare_execution": "899b4eaa689f",
    "BulkWorker.run_maintenance_tasks": "3d8a446b5354",
    "BulkWorker.work": "04b5cdf8e554",
    "StartedJobRegistry.cleanup": "c5cd78c27fc0",
}
"""RQ 3.0.0: the start of the sha256 of the source, signature included."""


def theirs(own: type, name: str) -> Any:
    """RQ's function of that name, below our class."""
    found = next(vars(base)[name] for base in own.__mro__ if base.__module__.startswith("rq.") and name in vars(base))
    match found:
        case property():
            return found.fget
        case cached_property():
            return found.func
        case classmethod() | staticmethod():
            return found.__func__
    return found


def digest(own: type, name: str) -> str:
    return hashlib.sha256(inspect.getsource(theirs(own, name)).encode()).hexdigest()[:12]


PARTS = [(own, name) for table in (RQ_OVERRIDES, RQ_DEPENDENCIES) for own, names in table.items() for name in names]


@pytest.mark.parametrize(("own", "name"), PARTS, ids=[f"{own.__name__}.{name}" for own, name in PARTS])
def test_rq_has_not_changed_what_the_worker_overrides_or_depends_on(own: type, name: str) -> None:
    assert digest(own, name) == KNOWN[f"{own.__name__}.{name}"]


def test_every_override_is_in_the_table() -> None:
    settings = {"job_class", "queue_class", "death_penalty_class"}
    for own, names in RQ_OVERRIDES.items():
        bases = [base for base in own.__mro__[1:] if base.__module__.startswith("rq.")]
        found = {name for name in vars(own) if any(name in vars(base) for base in bases) and not name.startswith("__")}
        assert found - settings == set(names), own


def test_an_override_takes_what_rq_s_own_takes() -> None:
    for own, names in RQ_OVERRIDES.items():
        for name in names:
            ours = inspect.getattr_static(own, name)
            ours = ours.__func__ if isinstance(ours, classmethod) else ours
            if not inspect.isfunction(ours):  # a property or None
                continue
            parameters = inspect.signature(ours).parameters
            if any(one.kind is one.VAR_POSITIONAL for one in parameters.values()):
                continue
            assert list(parameters) == list(inspect.signature(theirs(own, name)).parameters), f"{own.__name__}.{name}"
