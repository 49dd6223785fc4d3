"""Promise: while the registry is away, for a minute or an hour, servers serve on; back again, nothing is restarted.

How long it is away does not matter to a server, which looks again and again; here it looks twenty times a second, and
the registry is away for as long as some hundred calls take.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.cli.callers import Callers
from munjang.client import Client

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
READABLE = "munjang_server_registry_readable"


def take_away(registry, how):
    """Let the registry be gone, as an unmounted volume or as a mount point that stands empty; returns how it comes back."""
    folder = Path(registry.url)
    aside = folder.rename(folder.with_name("away"))
    if how == "empty":
        folder.mkdir()

    def back():
        if how == "empty":
            folder.rmdir()
        aside.rename(folder)

    return back


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_servers_serve_on_without_the_registry_and_follow_it_when_it_is_back(registry, replica, impatient, until, how):
    server = replica(registry).ready()
    with impatient(server.target) as client, Callers(client, TEXTS) as callers:
        back = take_away(registry, how)
        until(lambda: server.metric(READABLE) == 0, "the loss")
        assert callers.wait(1, 100, 60)
        client.wait_ready(10)
        back()
        registry.promote("stable", 2, "drill")
        assert callers.wait(2, 50, 60)
        assert server.metric(READABLE) == 1
    assert callers.failures == {}
    assert server.program.stop() == 0


def test_a_server_that_starts_without_the_registry_says_so_and_serves_once_it_is_back(registry, replica):
    back = take_away(registry, "gone")
    server = replica(registry)
    server.program.wait_for("listening")
    waiting = server.program.wait_for("not serving")
    assert registry.url in waiting["reason"]
    back()
    server.ready()
    with Client(server.target) as client:
        assert client.encode(TEXTS).version == 1
