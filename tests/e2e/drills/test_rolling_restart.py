"""Promise: servers are restarted one after the other and no call fails, not even one that nobody tries again."""

from __future__ import annotations

import pytest

from munjang.cli.callers import Callers

TEXTS = ["구르는 돌에는 이끼가 끼지 않는다."]


@pytest.mark.timeout(400)
def test_no_call_fails_while_three_servers_are_restarted_in_turn(registry, replica, impatient):
    replicas = [replica(registry, lame_duck_seconds=1.5, drain_seconds=20) for _ in range(3)]
    for each in replicas:
        each.ready()
    with impatient([each.target for each in replicas]) as client, Callers(client, TEXTS, count=4) as callers:
        for each in replicas:
            assert each.program.stop() == 0
            each.restart()
            each.ready()
            assert callers.wait(1, 50, 60)
    assert callers.failures == {}
    assert set(callers.answered) == {1}
    assert [each.program.stop() for each in replicas] == [0, 0, 0]
