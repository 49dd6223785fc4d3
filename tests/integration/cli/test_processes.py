"""Children and their guard, with small real processes."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from munjang.cli.stack import guard as guarding
from munjang.cli.stack.child import Child
from munjang.cli.stack.guard import Guard, watch
from munjang.cli.stack.signals import Signals

STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); sys.stdin.read()"
)
OBEDIENT = "import sys; print('ready', flush=True); sys.stdin.read()"
PARENT = (
    "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
def start():
    """Start a process in a group of its own, and wait for its first line."""
    running = []

    def process(code):
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
        )
        return running[-1], running[-1].stdout.readline().strip()

    yield process
    for found in running:
        found.kill()
        found.wait(10)
        found.stdin.close()
        found.stdout.close()


@pytest.fixture
def guard():
    found = Guard()
    yield found
    found.close()


def test_the_guard_ends_what_its_parent_left(start, monkeypatch):
    monkeypatch.setattr(guarding, "GRACE_SECONDS", 1.0)  # nobody else collects a process that this one started
    process, _ = start(OBEDIENT)
    watch([f"+{process.pid}\n"])
    assert process.wait(10) == -signal.SIGTERM


def test_the_guard_kills_what_does_not_end(start, monkeypatch):
    monkeypatch.setattr(guarding, "GRACE_SECONDS", 0.2)
    process, _ = start(STUBBORN)
    watch([f"+{process.pid}\n"])
    assert process.wait(10) == -signal.SIGKILL


def test_the_guard_leaves_alone_what_its_parent_ended(start):
    process, _ = start(OBEDIENT)
    watch([f"+{process.pid}\n", f"-{process.pid}\n"])
    assert process.poll() is None


def test_the_guard_acts_when_its_parent_is_killed(start):
    code = """
import subprocess, sys
from munjang.cli.stack.guard import Guard
guard = Guard()
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
guard.started(child.pid)
print(child.pid, flush=True)
sys.stdin.read()
"""
    parent, pid = start(code)
    child = psutil.Process(int(pid))
    parent.kill()
    parent.wait(10)
    child.wait(20)


def test_a_killed_child_takes_its_own_children_with_it(guard, tmp_path):
    child = Child("parent", [sys.executable, "-c", PARENT], {}, touched(tmp_path), guard, once=True)
    grandchild = psutil.Process(int(child.output.readline()))
    child.kill()
    child.output.close()
    grandchild.wait(10)
    assert child.status() == -signal.SIGKILL


def test_a_child_that_ends_leaves_no_grandchild(guard, tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    child = Child("parent", [sys.executable, "-c", code], {}, touched(tmp_path), guard, once=True)
    grandchild = psutil.Process(int(child.output.readline()))
    assert child.wait(10)
    child.output.close()
    grandchild.wait(10)


def test_the_end_of_a_childs_log_is_kept(guard, tmp_path):
    code = "import sys; print('\\n'.join(f'{n}번째 줄' for n in range(2000))); sys.exit(3)"
    child = Child("talker", [sys.executable, "-c", code], {"PYTHONUTF8": "1"}, touched(tmp_path), guard)
    assert child.wait(10)
    assert child.status() == 3
    assert child.tail()[-2:] == ["1998번째 줄", "1999번째 줄"]


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


def touched(folder):
    path = folder / "child.log"
    path.touch()
    return path
