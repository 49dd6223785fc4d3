"""The engine with fake encoders: loading beside the old version, swapping, failing, draining. No gRPC, no weights."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from munjang.engine import Engine, VersionState, version_table
from munjang.engine import engine as engine_module
from munjang.errors import HashMismatch, ProbeMismatch, VersionLoading, VersionNotFound, VersionNotReady
from munjang.registry import AliasRecord, Manifest, Snapshot
from munjang.testing import FakeEncoder

WAIT = 10


def manifest(version):
    return Manifest(version=version, dimensions=8, max_tokens=128, created_at=datetime.now(UTC), files=())


def alias(version, previous=0):
    return AliasRecord(version=version, previous=previous, changed_at=datetime.now(UTC))


def snapshot(stable, previous=0, published=(1, 2, 3), **others):
    aliases = {"stable": alias(stable, previous)} | {name: alias(number) for name, number in others.items()}
    return Snapshot(versions={number: manifest(number) for number in published}, aliases=aliases)


class Loader:
    """Makes fake encoders; a version in `gates` waits for its event, one in `broken` fails."""

    def __init__(self):
        self.gates = {}
        self.broken = {}
        self.calls = []
        self.encoders = {}
        self.begun = threading.Event()

    def __call__(self, version, progress):
        self.calls.append(version)
        progress(VersionState.WARMING)
        self.begun.set()
        if version in self.gates:
            assert self.gates[version].wait(WAIT)
        if version in self.broken:
            raise self.broken[version]
        self.encoders[version] = FakeEncoder(seed=version)
        return manifest(version), self.encoders[version]

    def stop(self):
        for gate in self.gates.values():
            gate.set()


class Recorder:
    """An observer that tests can wait for."""

    def __init__(self):
        self.events = []
        self._changed = threading.Condition()

    def _add(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def load_finished(self, version, seconds, error):
        self._add(("failed" if error else "loaded", version))

    def alias_moved(self, name, old, new, seconds):
        assert seconds >= 0
        self._add(("moved", name, old, new))

    def unloaded(self, version):
        self._add(("unloaded", version))

    def wait(self, *event):
        with self._changed:
            assert self._changed.wait_for(lambda: event in self.events, WAIT), f"{event} is not in {self.events}"


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def engine(loader, recorder):
    engine = Engine(loader, ["stable", "canary"], observer=recorder)
    engine.start()
    yield engine
    engine.close()
    assert not engine._thread.is_alive()


def test_the_version_that_stable_names_is_served(engine, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)

    with engine.acquire("") as by_default, engine.acquire("stable") as by_alias, engine.acquire("1") as by_number:
        assert by_default.version == by_alias.version == by_number.version == 1
    assert engine.ready


def test_nothing_is_ready_before_the_first_version(engine):
    assert not engine.ready
    with pytest.raises(VersionNotFound, match="none yet"):
        engine.acquire("stable")


def test_the_old_version_serves_while_the_new_one_loads(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    loader.gates[2] = threading.Event()
    loader.begun.clear()
    engine.update(snapshot(2, previous=1))
    assert loader.begun.wait(WAIT)

    states = {status.version: status.state for status in engine.versions()}
    assert states == {3: VersionState.PUBLISHED, 2: VersionState.WARMING, 1: VersionState.AVAILABLE}
    assert engine.acquire("stable").version == 1
    with pytest.raises(VersionLoading):
        engine.acquire("2")

    loader.gates[2].set()
    recorder.wait("moved", "stable", 1, 2)
    assert engine.acquire("stable").version == 2


def test_rollback_moves_back_without_loading(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    engine.update(snapshot(2, previous=1))
    recorder.wait("moved", "stable", 1, 2)
    engine.update(snapshot(1, previous=2))
    recorder.wait("moved", "stable", 2, 1)

    assert loader.calls == [1, 2]


def test_an_alias_of_a_resident_version_moves_while_another_one_loads(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    engine.update(snapshot(2, previous=1))
    recorder.wait("moved", "stable", 1, 2)
    loader.gates[3] = threading.Event()
    loader.begun.clear()
    engine.update(snapshot(2, previous=1, canary=3))
    assert loader.begun.wait(WAIT)

    engine.update(snapshot(1, previous=2, canary=3))

    assert engine.acquire("stable").version == 1


def test_who_gives_back_the_last_lease_does_not_wait_for_the_closing(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    lease = engine.acquire("stable")
    engine.update(snapshot(2))
    recorder.wait("moved", "stable", 1, 2)
    may_close = threading.Event()
    close = loader.encoders[1].close
    loader.encoders[1].close = lambda: may_close.wait(WAIT) and close()

    lease.release()

    assert {status.version: status.state for status in engine.versions()}[1] is VersionState.DRAINING
    may_close.set()
    recorder.wait("unloaded", 1)
    assert loader.encoders[1].closed


def test_a_version_that_cannot_be_closed_does_not_hold_up_the_next(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    loader.encoders[1].close = lambda: 1 / 0
    engine.update(snapshot(2))
    recorder.wait("unloaded", 1)
    engine.update(snapshot(3))
    recorder.wait("unloaded", 2)
    assert loader.encoders[2].closed


def test_a_version_that_fails_leaves_the_old_one_serving_and_says_why(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    loader.broken[2] = HashMismatch("model.safetensors differs from its manifest")
    engine.update(snapshot(2, previous=1))
    recorder.wait("failed", 2)

    assert engine.acquire("stable").version == 1
    failed = next(status for status in engine.versions() if status.version == 2)
    assert failed.state is VersionState.FAILED
    assert failed.reason == "HashMismatch: model.safetensors differs from its manifest"
    (stable,) = engine.aliases()
    assert (stable.version, stable.serving) == (2, 1)
    with pytest.raises(VersionNotReady):
        engine.acquire("2")


def test_a_failed_version_is_tried_again_when_its_alias_is_moved_anew(engine, loader, recorder):
    loader.broken[2] = OSError("the disk is gone")
    engine.update(snapshot(1))
    engine.update(snapshot(2, previous=1))
    recorder.wait("failed", 2)
    engine.update(snapshot(1, previous=2))
    recorder.wait("moved", "stable", 0, 1)
    del loader.broken[2]
    engine.update(snapshot(2, previous=1))
    recorder.wait("moved", "stable", 1, 2)


def test_a_failed_version_is_tried_again_by_itself(engine, loader, recorder, monkeypatch):
    monkeypatch.setattr("munjang.engine.version_table.FIRST_RETRY_SECONDS", 0.05)
    loader.broken[1] = OSError("the disk is gone")
    engine.update(snapshot(1))
    recorder.wait("failed", 1)
    loader.broken.clear()
    recorder.wait("moved", "stable", 0, 1)


def test_a_retired_version_is_unloaded_only_after_its_last_lease(engine, loader, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    lease = engine.acquire("stable")
    second = lease.share()
    engine.update(snapshot(2, previous=0))
    recorder.wait("moved", "stable", 1, 2)
    lease.release()
    lease.release()

    assert not loader.encoders[1].closed
    third = second.share()
    second.release()
    third.release()
    recorder.wait("unloaded", 1)
    assert loader.encoders[1].closed
    with pytest.raises(RuntimeError, match="version 1 is closed"):
        third.share()
    with pytest.raises(VersionNotReady, match="served: 2"):
        engine.acquire("1")


def test_a_second_watched_alias_has_its_own_version(engine, recorder):
    engine.update(snapshot(1, canary=3))
    recorder.wait("moved", "canary", 0, 3)

    assert engine.acquire("canary").version == 3
    assert engine.acquire("stable").version == 1


def test_an_alias_that_is_not_watched_is_not_loaded(engine, loader, recorder):
    engine.update(snapshot(1, other=2))
    recorder.wait("moved", "stable", 0, 1)

    assert loader.calls == [1]


def test_an_alias_that_vanishes_from_the_registry_keeps_its_version(engine, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    engine.update(Snapshot(versions={}, aliases={}))

    assert engine.acquire("stable").version == 1


@pytest.mark.parametrize(("name", "error"), [("9", VersionNotFound), ("3", VersionNotReady), ("beta", VersionNotFound)])
def test_what_is_not_served_is_refused_with_its_own_error(engine, recorder, name, error):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)

    with pytest.raises(error) as caught:
        engine.acquire(name)
    assert caught.value.field == "options.version"


def test_the_previous_version_is_given_up_where_memory_is_short(engine, recorder, monkeypatch):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    engine.update(snapshot(2, previous=1))
    recorder.wait("moved", "stable", 1, 2)
    monkeypatch.setattr(engine_module.memory, "room_for", lambda size: False)
    engine.update(snapshot(3, previous=2))
    recorder.wait("unloaded", 1)
    recorder.wait("moved", "stable", 2, 3)


def test_a_removed_version_is_not_kept_for_a_rollback_that_cannot_be(engine, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    engine.update(snapshot(2, previous=1))
    recorder.wait("moved", "stable", 1, 2)
    engine.update(snapshot(2, previous=1, published=(2, 3)))
    recorder.wait("unloaded", 1)
    with pytest.raises(VersionNotFound):
        engine.acquire("1")


def test_a_previous_version_whose_manifest_is_unreadable_stays(engine, recorder):
    engine.update(snapshot(1))
    recorder.wait("moved", "stable", 0, 1)
    engine.update(snapshot(2, previous=1))
    recorder.wait("moved", "stable", 1, 2)
    seen = snapshot(2, previous=1, published=(2, 3), canary=3)
    engine.update(replace(seen, problems={"versions/1": "damaged"}))
    recorder.wait("moved", "canary", 0, 3)
    assert engine.acquire("1").version == 1


def test_closing_retires_every_version(loader, recorder):
    engine = Engine(loader, ["stable", "canary"], observer=recorder)
    engine.start()
    engine.update(snapshot(1, canary=2))
    recorder.wait("moved", "canary", 0, 2)
    lease = engine.acquire("2")
    engine.close()
    assert loader.encoders[1].closed
    assert not loader.encoders[2].closed

    lease.release()
    assert loader.encoders[2].closed


def test_closing_stops_a_load(loader, recorder):
    engine = Engine(loader, ["stable"], observer=recorder)
    loader.gates[1] = threading.Event()
    engine.start()
    engine.update(snapshot(1))
    assert loader.begun.wait(WAIT)

    engine.close(WAIT)

    assert not engine._thread.is_alive()


@pytest.mark.parametrize(
    ("error", "waits", "longest"),
    [(ProbeMismatch("another model"), 12, 3600.0), (OSError("the disk is gone"), 8, 300.0)],
)
def test_a_failed_version_waits_twice_as_long_each_time_up_to_a_bound(monkeypatch, error, waits, longest):
    monkeypatch.setattr(version_table.time, "monotonic", lambda: 1000.0)
    table, found = version_table.VersionTable(aliases={"stable": alias(7)}), []
    for _ in range(waits):
        table.fail(7, error)
        found.append(table.seconds_to_retry(["stable"]))

    assert found[:3] == [5.0, 10.0, 20.0]
    assert found[-1] == longest
    assert found[-3] < longest
    assert table.next_to_load(["stable"]) is None


def test_a_failed_version_that_no_alias_names_any_more_wakes_nobody():
    table = version_table.VersionTable(aliases={"stable": alias(7)})
    table.fail(7, OSError("the disk is gone"))
    table.aliases = {"stable": alias(6)}
    table.loaded[6] = version_table.LoadedVersion(manifest(6), FakeEncoder(), lambda _: None)

    assert table.seconds_to_retry(["stable"]) is None


OLD, NEW = "0a" * 16, "1" * 32
"""Two spaces; the second has digits alone, like a number."""


def spaced(version):
    return manifest(version).model_copy(update={"space_id": NEW if version == 3 else OLD})


@pytest.mark.parametrize(
    ("loaded", "space", "version"), [((1,), OLD, 1), ((1, 2), OLD, 2), ((1, 3), NEW, 3), ((3, 1), OLD, 1)]
)
def test_a_space_names_its_newest_version_that_is_available(loaded, space, version):
    table = version_table.VersionTable(published={number: spaced(number) for number in (1, 2, 3)})
    for number in loaded:
        table.loaded[number] = version_table.LoadedVersion(spaced(number), FakeEncoder(), lambda _: None)
    with table.acquire(space) as lease:
        assert (lease.version, lease.space_id) == (version, space)


def test_a_space_without_a_version_that_is_available_is_refused_like_one_of_its_versions():
    table = version_table.VersionTable(published={number: spaced(number) for number in (1, 2, 3)})
    with pytest.raises(VersionNotReady, match="version 2"):
        table.acquire(OLD)
    with pytest.raises(VersionNotFound, match="no version of the space"):
        table.acquire("2b" * 16)
