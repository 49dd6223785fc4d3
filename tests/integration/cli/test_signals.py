"""Being asked to end by signals, in a process of its own."""

import subprocess
import sys

PROGRAM = """
import os, signal
from munjang.cli.stack.signals import Signals

before = signal.getsignal(signal.SIGINT)
with Signals() as signals:
    os.kill(os.getpid(), signal.SIGINT)
    assert signals.asked.wait(30)
    assert (signals.first, signals.exit_status) == (signal.SIGINT, 130)
    assert not signals.impatient.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.impatient.wait(30)
    assert signals.first == signal.SIGINT
assert signal.getsignal(signal.SIGINT) is before
print("all as it was")
"""


def test_the_first_signal_asks_and_the_second_loses_patience():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "all as it was\n"), done.stderr
