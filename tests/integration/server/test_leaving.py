"""A server that is asked to end while it loads a version does not wait for the load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model

PROGRAM = """
import runpy, threading
from munjang.engine import version_loader

def load_for_ever(self, version, progress):
    print("loading", version, flush=True)
    threading.Event().wait()

version_loader.VersionLoader.__call__ = load_for_ever
runpy.run_module("munjang_server", run_name="__main__")
"""


@pytest.fixture
def registry(tmp_path):
    """A registry with one small version behind stable."""
    registry = Registry(str(tmp_path / "registry"))
    registry.promote("stable", publish_model(registry, tiny_model(tmp_path / "model")).version, "tests")
    return registry


@pytest.fixture
def server(registry, tmp_path):
    """A server whose load never ends."""
    environment = os.environ | {
        "MUNJANG_REGISTRY": registry.url,
        "MUNJANG_HOME": str(tmp_path),
        "MUNJANG_PORT": "0",
        "MUNJANG_LAME_DUCK_SECONDS": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_load_that_never_ends_does_not_hold_up_the_end(server, number):
    assert server.stdout.readline() == "loading 1\n"
    server.send_signal(number)
    _, said = server.communicate(timeout=60)
    assert server.returncode == 0, said
    assert "exiting without waiting for threads" in said
    assert "munjang-engine-loader" in said
    assert "Traceback" not in said
