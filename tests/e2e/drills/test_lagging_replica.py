"""Promise: where a replica lags behind on its version, no reply is mixed, pinned callers are not touched, it shows.

The lagging replica reads a copy of the registry that is brought up to date late, as behind a network file system that
serves old directories, or a bucket that is copied from region to region.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from munjang.cli.callers import Callers
from munjang.client import Client
from munjang.errors import VersionNotFound, VersionNotReady
from munjang.registry import Registry

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
ALIAS = "munjang_server_alias_version"


def forget(folder, version):
    """Make a copy of a registry one version older than the original."""
    shutil.rmtree(folder / "versions" / str(version))


def catch_up(source, copy):
    """Bring a copy up to date: versions first, then aliases."""
    for name in ("versions", "aliases"):
        shutil.copytree(source / name, copy / name, dirs_exist_ok=True)


@pytest.fixture
def late(registry, tmp_path):
    """A copy of the registry that does not know version 2 yet."""
    copy = Registry(str(shutil.copytree(registry.url, tmp_path / "late")))
    forget(tmp_path / "late", 2)
    return copy


def test_each_reply_names_its_version_pins_hold_and_the_metrics_differ_until_it_catches_up(
    registry, late, replica, impatient, tmp_path, until
):
    prompt, lagging = replica(registry), replica(late)
    for each in (prompt, lagging):
        each.ready()
    with impatient(prompt.target) as client:
        before = client.encode(TEXTS).vectors
    registry.promote("stable", 2, "drill")
    until(lambda: prompt.metric(ALIAS, alias="stable") == 2, "the swap of the prompt one")
    with impatient(prompt.target) as client:
        expected = {1: before, 2: client.encode(TEXTS).vectors}
    assert not np.allclose(expected[1], expected[2], atol=1e-2)

    assert lagging.metric(ALIAS, alias="stable") == 1  # VersionsDiffer: max != min by alias
    with impatient([prompt.target, lagging.target]) as client:
        replies = [client.encode(TEXTS) for _ in range(20)]
    assert {reply.version for reply in replies} == {1, 2}
    for reply in replies:
        np.testing.assert_allclose(reply.vectors, expected[reply.version], atol=1e-2)

    with impatient(lagging.target) as client, pytest.raises((VersionNotFound, VersionNotReady)):
        client.encode(TEXTS, version=2)
    with (
        Client([prompt.target, lagging.target]) as both,
        Callers(both, TEXTS, version=1) as pinned,
    ):
        assert pinned.wait(1, 50, 60)
        catch_up(tmp_path / "registry", tmp_path / "late")
        until(lambda: lagging.metric(ALIAS, alias="stable") == 2, "the lagging one's swap")
        assert pinned.wait(1, 50, 60)
    assert pinned.failures == {}
    assert set(pinned.answered) == {1}
    with impatient([prompt.target, lagging.target]) as client:
        assert {client.encode(TEXTS).version for _ in range(20)} == {2}
