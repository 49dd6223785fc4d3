"""`munjang up` and `munjang demo` as processes of their own, with a model that loads in a moment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid

import psutil
import pytest

from tests.warming import CACHE_VERSIONS

WAIT = 240
MUNJANG = [sys.executable, "-c", "from munjang.cli.main import run; run()"]


@pytest.fixture
def home(tmp_path, tiny_registry):
    """A home whose registry holds the tiny model."""
    shutil.copytree(tiny_registry.url, tmp_path / "집" / "registry")
    return tmp_path / "집"


class Running:
    """A `munjang` process: what it says, and everything that it started, found by a mark that children inherit."""

    def __init__(self, arguments, environment):
        self.mark = f"MUNJANG_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [*MUNJANG, *map(str, arguments)],
            env=os.environ | environment | {name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.lines = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self.lines.append(None)
            self._heard.notify_all()

    @property
    def said(self):
        return "\n".join(filter(None, self.lines))

    def wait_for(self, pattern):
        """The match of the first line that has the pattern."""

        def found():
            return next((match for line in self.lines if line and (match := re.search(pattern, line))), None)

        with self._heard:
            assert self._heard.wait_for(lambda: found() or None in self.lines, WAIT), self.said
            assert found(), self.said
            return found()

    @property
    def target(self):
        return self.wait_for(r"gRPC +(\S+)")[1]

    def family(self):
        """All living processes that carry the mark, the first one not among them."""
        name, _, value = self.mark.partition("=")
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.pid != self.process.pid]

    def child(self, word):
        """The child whose command line has that word."""
        (found,) = [process for process in self.family() if word in process.cmdline() and "worker" not in word]
        return found

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        status = self.process.wait(WAIT)
        self._reader.join(WAIT)
        return status

    def leaves_nothing(self):
        """Whether everything it started ends."""
        _, alive = psutil.wait_procs(self.family(), timeout=30)
        return not alive

    def clear(self):
        if self.process.poll() is None:
            self.process.kill()
        self.leaves_nothing()
        for process in self.family():
            process.kill()
        self.process.wait(WAIT)
        self._reader.join(WAIT)
        self.process.stdout.close()


@pytest.fixture
def default_home(tmp_path):
    """The home in which commands look that name none."""
    return tmp_path / "default home"


@pytest.fixture
def munjang(warm_cache, tiny_registry, default_home):
    """Start the command with arguments, and settings as keyword arguments; the tiny model is in its cache already."""
    running = []

    def start(*arguments, **settings):
        settings = {"home": default_home, "cache": warm_cache, "cache_versions": CACHE_VERSIONS} | settings
        environment = {f"MUNJANG_{name.upper()}": str(value) for name, value in settings.items()}
        running.append(Running(arguments, environment))
        return running[-1]

    yield start
    for process in running:
        process.clear()
