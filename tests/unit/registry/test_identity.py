"""The registry's own id: made once, by whoever publishes first or may write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from munjang.errors import InvalidManifest
from munjang.registry import Registry, SnapshotReader
from munjang.registry.identity import IDENTITY, ensure_identity

if TYPE_CHECKING:
    from munjang.registry import Description


def test_a_registry_has_one_id_from_its_first_version_on(
    registry: Registry, model: Path, description: Description
) -> None:
    assert registry.identity() == ""
    registry.publish(model, description)
    identity = registry.identity()
    assert len(identity) == 32
    registry.publish(model, description)
    assert registry.identity() == identity == SnapshotReader(registry).read().registry_id


def test_two_registries_have_two_ids(local: Registry, memory: Registry) -> None:
    assert ensure_identity(local.storage) != ensure_identity(memory.storage)


def test_who_only_looks_at_an_empty_place_leaves_nothing_there(local: Registry) -> None:
    assert SnapshotReader(local).read().registry_id == ""
    assert not Path(local.url).exists()


def test_an_older_registry_gets_an_id_when_it_is_read(local: Registry, model: Path, description: Description) -> None:
    local.publish(model, description)
    local.storage.remove(IDENTITY)
    assert local.identity() == local.identity() != ""


def test_programs_that_make_it_at_once_agree(local: Registry) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: ensure_identity(Registry(local.url).storage), range(16)))
    assert len(found) == 1


def test_a_file_that_holds_no_id_is_told(local: Registry, model: Path, description: Description) -> None:
    local.publish(model, description)
    local.storage.replace(IDENTITY, b'{"id": "x"}')
    with pytest.raises(InvalidManifest, match=r"registry\.json"):
        local.identity()
    assert IDENTITY in SnapshotReader(local).read().problems
