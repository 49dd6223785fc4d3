"""Child processes and the reaper of orphans, with small real processes."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from munjang import child_process
from munjang.child_process import ChildProcess, OrphanReaper, reap_orphans, stop

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
def reaper():
    found = OrphanReaper()
    yield found
    found.close()


def test_the_reaper_ends_what_its_parent_left(start, monkeypatch):
    monkeypatch.setattr(child_process, "GRACE_SECONDS", 1.0)  # nobody else collects a process that this one started
    process, _ = start(OBEDIENT)
    reap_orphans([f"+{process.pid}\n"])
    assert process.wait(10) == -signal.SIGTERM


def test_the_reaper_kills_what_does_not_end(start, monkeypatch):
    monkeypatch.setattr(child_process, "GRACE_SECONDS", 0.2)
    process, _ = start(STUBBORN)
    reap_orphans([f"+{process.pid}\n"])
    assert process.wait(10) == -signal.SIGKILL


def test_the_reaper_leaves_alone_what_its_parent_ended(start):
    process, _ = start(OBEDIENT)
    reap_orphans([f"+{process.pid}\n", f"-{process.pid}\n"])
    assert process.poll() is None


def test_the_reaper_acts_when_its_parent_is_killed(start):
    code = """
import subprocess, sys
from munjang.child_process import OrphanReaper
reaper = OrphanReaper()
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
reaper.started(child.pid)
print(child.pid, flush=True)
sys.stdin.read()
"""
    parent, pid = start(code)
    child = psutil.Process(int(pid))
    parent.kill()
    parent.wait(10)
    child.wait(20)


def test_a_killed_child_takes_its_own_children_with_it(reaper, tmp_path):
    child = ChildProcess([sys.executable, "-c", PARENT], log=tmp_path / "log", piped=True, reaper=reaper)
    grandchild = psutil.Process(int(child.stdout.readline()))
    child.kill()
    child.stdout.close()
    grandchild.wait(10)
    assert child.status() == -signal.SIGKILL


def test_a_child_that_ends_leaves_no_grandchild(reaper, tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    child = ChildProcess([sys.executable, "-c", code], log=tmp_path / "log", piped=True, reaper=reaper)
    grandchild = psutil.Process(int(child.stdout.readline()))
    assert child.wait(10)
    child.stdout.close()
    grandchild.wait(10)


def test_the_end_of_a_childs_log_is_kept(reaper, tmp_path):
    code = "import sys; print('\\n'.join(f'{n}번째 줄' for n in range(2000))); sys.exit(3)"
    child = ChildProcess(
        [sys.executable, "-c", code], environment={"PYTHONUTF8": "1"}, log=tmp_path / "log", reaper=reaper
    )
    assert child.wait(10)
    assert child.status() == 3
    assert child.tail()[-2:] == ["1998번째 줄", "1999번째 줄"]


def test_children_that_should_stop_are_asked_and_then_killed():
    children = [ChildProcess([sys.executable, "-c", code], piped=True, fed=True) for code in (OBEDIENT, STUBBORN)]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
    stop(children, 0.3)

    assert [child.status() for child in children] == [-signal.SIGTERM, -signal.SIGKILL]
    for child in children:
        child.__exit__()


def test_an_impatient_caller_does_not_wait_for_a_child_that_ignores_signals():
    with ChildProcess([sys.executable, "-c", STUBBORN], piped=True, fed=True) as child:
        assert child.stdout.readline() == b"ready\n"
        stop([child], 600, impatient=lambda: True)

        assert child.status() == -signal.SIGKILL


def test_leaving_the_context_kills_the_child():
    with ChildProcess([sys.executable, "-c", STUBBORN], piped=True, fed=True, session=False) as child:
        assert child.stdout.readline() == b"ready\n"
        assert os.getpgid(child.pid) == child.pid
        assert os.getsid(child.pid) == os.getsid(0)

    assert child.status() == -signal.SIGKILL
