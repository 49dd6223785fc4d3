"""What stops a step, and what ends the process: neither gets lost where both come."""

from __future__ import annotations

import pytest

from munjang_worker.interrupts import Interrupted, Interrupts, Reason


def test_without_a_reason_the_step_goes_on() -> None:
    interrupts = Interrupts()
    interrupts.poll()
    assert interrupts.stopping is False


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_stops_the_step_at_every_poll(reason: Reason) -> None:
    interrupts = Interrupts()
    interrupts.set(reason)
    for _ in range(2):
        with pytest.raises(Interrupted) as caught:
            interrupts.poll()
        assert caught.value.reason is reason


@pytest.mark.parametrize("first", [Reason.ENDED, Reason.STOPPED])
def test_a_shutdown_that_comes_while_a_step_is_being_stopped_still_ends_the_process(first: Reason) -> None:
    interrupts = Interrupts()
    interrupts.set(first)
    interrupts.set(Reason.SHUTDOWN)
    with pytest.raises(Interrupted) as caught:
        interrupts.poll()
    assert caught.value.reason is first
    assert interrupts.stopping is True
    interrupts.clear()
    with pytest.raises(Interrupted) as caught:
        interrupts.poll()
    assert caught.value.reason is Reason.SHUTDOWN


def test_the_next_step_begins_without_the_last_one_s_reason() -> None:
    interrupts = Interrupts()
    interrupts.set(Reason.ENDED)
    interrupts.clear()
    interrupts.poll()
