"""Real programs for end-to-end tests: started on free ports, ended by their id, their logs kept."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.warming import CACHE_VERSIONS

WAIT = 180


@dataclass
class Program:
    """A running server or worker, with every line of its log as it comes."""

    process: subprocess.Popen[str]
    lines: list[dict] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)

    def __post_init__(self):
        self._heard = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self._heard:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.plain.append(line)
                self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def wait_for(self, event, **fields):
        """The first log line of that event with these fields."""

        def found():
            wanted = {"event": event} | fields
            matches = [line for line in self.lines if wanted.items() <= line.items()]
            return matches[0] if matches else None

        with self._heard:
            assert self._heard.wait_for(lambda: found() or self._ended, WAIT), f"{event} did not come: {self.lines}"
            assert found(), f"the program ended before {event}: {self.lines} {self.plain}"
            return found()

    def wait_for_count(self, event, count):
        """Wait until so many log lines of that event have come."""
        with self._heard:
            enough = lambda: len([line for line in self.lines if line["event"] == event]) >= count  # noqa: E731
            assert self._heard.wait_for(lambda: enough() or self._ended, WAIT), f"{event} did not come: {self.lines}"
            assert enough(), f"the program ended before {event}: {self.lines} {self.plain}"

    @property
    def target(self):
        return f"127.0.0.1:{self.wait_for('listening')['port']}"

    def stop(self, number=signal.SIGTERM):
        """Signal it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(WAIT)


@contextmanager
def programs(home, cache):
    """What `start_program` gives, for as long as it is wanted."""
    running = []

    def start(program, registry, *, prefix=(), variables=None, **settings):
        given = {"home": home, "registry": registry, "log_format": "json"}
        given |= {"cache": cache, "cache_versions": CACHE_VERSIONS}
        names = {f"MUNJANG_{name.upper()}": str(value) for name, value in (given | settings).items()}
        process = subprocess.Popen(
            [*map(str, prefix), sys.executable, "-m", program],
            env={**os.environ, **names, "HF_HUB_OFFLINE": "1", **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(Program(process))
        return running[-1]

    try:
        yield start
    finally:
        for program in running:
            if program.process.poll() is None:
                program.process.kill()
        for program in running:
            program.process.wait(WAIT)
            program.process.stdout.close()


@pytest.fixture
def start_program(tmp_path, warm_cache):
    """Start `python -m PROGRAM` on a registry, with settings as keyword arguments; all are ended after the test.

    `prefix` is a command that runs the program, `variables` are others than settings.
    """
    with programs(tmp_path / "home", warm_cache) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_program(tmp_path_factory, warm_cache):
    """As `start_program`, for programs that all tests of a module share."""
    with programs(tmp_path_factory.mktemp("shared") / "home", warm_cache) as start:
        yield start


@pytest.fixture
def start_server(start_program):
    """Start a server on a registry, by default on a free port and without a metrics page."""
    return functools.partial(start_program, "munjang_server", port=0, metrics_port=0)
