"""What the drills share: two versions whose forms are made already, replicas on ports known beforehand, their metrics.

A drill breaks something that breaks in operation, on real processes, and shows what docs/operations.md promises then.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from munjang.client import Client, RetryPolicy
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.e2e.drills.link import Link
from tests.ports import free_port
from tests.warming import warm

WAIT = 120.0
READY = 240.0


def until(condition, what, seconds=WAIT):
    """Wait for something to be so; what it gave."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"{what} did not come"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session", name="until")
def _until():
    return until


@pytest.fixture(scope="session")
def _versions(tmp_path_factory, made_once, warm_cache):
    """A registry of two versions with different vectors, both in the cache already; stable names the first."""
    models = tmp_path_factory.mktemp("models")

    def make(folder):
        registry = Registry(str(folder))
        for seed in (1, 2):
            publish_model(registry, tiny_model(models / str(seed), seed=seed))
        warm(registry, warm_cache)
        registry.promote("stable", 1, "drill")

    return made_once("versions", make)


@pytest.fixture
def registry(tmp_path, _versions):
    """A registry of one's own with versions 1 and 2 and other vectors in each; stable names the first."""
    return Registry(str(shutil.copytree(_versions, tmp_path / "registry")))


class Replica:
    """A server on a port that stays the same when it is started again, and its metrics page."""

    def __init__(self, start, registry, **settings):
        self.port, self.metrics_port = free_port(), free_port()
        self.target = f"127.0.0.1:{self.port}"
        self._start = functools.partial(
            start, registry.url, port=self.port, metrics_port=self.metrics_port, watch_seconds=0.05, **settings
        )
        self.restart()

    def restart(self):
        self.program = self._start()

    def ready(self):
        """Wait until it serves."""
        with Client(self.target) as client:
            client.wait_ready(READY)
        return self

    def metric(self, name, **labels):
        """The value of a series, None where there is none."""
        return metric(self.metrics_port, name, **labels)


def metric(port, name, **labels):
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        families = text_string_to_metric_families(page.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    found = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    return found[0] if found else None


@pytest.fixture(scope="session", name="metric")
def _metric():
    return metric


@pytest.fixture
def replica(start_server):
    """Start a server on a registry, with settings as keyword arguments."""
    return functools.partial(Replica, start_server)


@pytest.fixture
def impatient():
    """Make a client that tries no call twice."""
    return functools.partial(Client, retry=RetryPolicy(attempts=1))


@pytest.fixture
def start_worker(start_program):
    """Start a worker on a registry and a queue that takes the steps of dead workers over within seconds."""
    hasty = {"heartbeat_seconds": 0.5, "lease_seconds": 3, "maintenance_seconds": 1, "shard_rows": 1024}

    def start(registry, redis_url, **settings):
        return start_program("munjang_worker", registry.url, redis_url=redis_url, **(hasty | settings))

    return start


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus of so many rows; its path."""

    def write(rows, name="말뭉치.tsv"):
        path = tmp_path / name
        lines = (f"{number}\t{number}번째 문장은 {number % 97}에 관한 것이다.\n" for number in range(rows))
        path.write_text("id\ttext\n" + "".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_munjang():
    """Run the `munjang` command to its end: its exit status and what it said."""

    def run(*arguments, prefix=()):
        command = [*prefix, sys.executable, "-c", "from munjang.cli.main import run; run()", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=READY)
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)

    return run


@pytest.fixture
def link():
    """Open a link to a port, with `delay` and `rate`; closed after the test."""
    with ExitStack() as stack:
        yield lambda port, **how: stack.enter_context(Link(port, **how))
