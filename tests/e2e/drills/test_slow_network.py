"""Promise: a slow network costs the one who is behind it, and nobody else; a dead one costs no more than the deadline.

The networks are TCP proxies on the loopback that delay, throttle or hold back what passes them.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from munjang.cli.callers import Callers
from munjang.client import Client
from munjang.errors import DeadlineExceeded

TEXTS = [f"{number}번째 문장은 길지 않다." for number in range(256)]
FEW = TEXTS[:2]


def test_callers_behind_a_slow_link_get_the_same_vectors_and_hold_nobody_else_up(registry, replica, link, impatient):
    server = replica(registry).ready()
    slow = link(server.port, delay=0.15, rate=30_000)
    with impatient(server.target) as direct:
        expected = direct.encode(TEXTS).vectors
    answers = []
    with impatient(slow.target) as far, impatient(server.target) as near, Callers(near, FEW) as callers:
        threads = [threading.Thread(target=lambda: answers.append(far.encode(TEXTS))) for _ in range(4)]
        for thread in threads:
            thread.start()
        before = callers.calls
        for thread in threads:
            thread.join(60)
        meanwhile = callers.calls - before
    assert len(answers) == len(threads)
    for answer in answers:
        assert answer.version == 1
        np.testing.assert_allclose(answer.vectors, expected, atol=1e-2)
    assert callers.failures == {}
    assert meanwhile > 50
    assert server.program.stop() == 0


def test_a_reader_that_takes_nothing_holds_up_neither_others_nor_the_end(registry, replica, link, impatient):
    server = replica(registry, drain_seconds=3).ready()
    stuck = link(server.port)
    with impatient(stuck.target) as far, impatient(server.target) as near, Callers(near, FEW) as callers:
        replies = far.encode_stream((text for _ in range(400) for text in TEXTS), timeout=60)
        assert next(replies).embeddings.version == 1
        stuck.hold()
        assert callers.wait(1, 100, 60)
        assert callers.failures == {}
        begun = time.monotonic()
        server.program.process.terminate()
        assert server.program.process.wait(60) == 0
        assert time.monotonic() - begun < 30
        stuck.cut()
        with pytest.raises(Exception, match=r"."):  # by now there is nobody to answer
            list(replies)


def test_a_link_that_holds_everything_back_costs_the_deadline_and_works_again_afterwards(registry, replica, link):
    server = replica(registry).ready()
    dead = link(server.port)
    with Client(dead.target) as client:
        assert client.encode(FEW).version == 1
        dead.hold()
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.encode(FEW, timeout=1.0)
        assert time.monotonic() - begun < 20
        dead.release()
        assert client.encode(FEW).version == 1


def test_a_replica_behind_a_dead_link_costs_only_the_calls_sent_to_it_and_none_once_the_connection_is_gone(
    registry, replica, link
):
    near, far = (replica(registry).ready() for _ in range(2))
    between = link(far.port)
    with Client([near.target, between.target]) as client:
        for _ in range(10):
            client.encode(FEW)
        between.hold()
        answered, late = 0, 0
        for _ in range(6):
            try:
                assert client.encode(FEW, timeout=2.0).version == 1
                answered += 1
            except DeadlineExceeded:
                late += 1
        assert answered >= 2
        assert late <= 4
        between.server_port = 0  # no new connection reaches it
        between.cut()
        with Callers(client, FEW) as callers:
            assert callers.wait(1, 30, 60)
    assert callers.failures == {}
