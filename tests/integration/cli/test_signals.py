"""Being asked to end by signals, in this process."""

import os
import signal

from munjang.cli.stack.signals import Signals


def test_the_first_signal_asks_and_the_second_loses_patience():
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in a shell's background
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.asked.wait(5)
        assert (signals.first, signals.exit_status) == (signal.SIGINT, 130)
        assert not signals.impatient.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.impatient.wait(5)
        assert signals.first == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
