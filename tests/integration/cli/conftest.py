"""A real server with a tiny model, and the command line run in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from munjang.cli.main import main
from munjang.client import Client
from tests.ports import free_port
from tests.warming import CACHE_VERSIONS


@pytest.fixture(scope="session")
def target(tiny_registry, warm_cache, tmp_path_factory):
    """The address of a server of that registry."""
    port, home = free_port(), tmp_path_factory.mktemp("home")
    settings = {"HOME": home, "REGISTRY": tiny_registry.url, "PORT": port, "COMPUTE_TYPE": "float32"}
    settings |= {"CACHE": warm_cache, "CACHE_VERSIONS": CACHE_VERSIONS}
    environment = os.environ | {f"MUNJANG_{name}": str(value) for name, value in settings.items()}
    log = (home / "log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "munjang_server"], env=environment, stdout=log, stderr=log)
    address = f"127.0.0.1:{port}"
    try:
        with Client(address) as client:
            client.wait_ready(120)
        yield address
    finally:
        process.kill()
        process.wait(10)
        log.close()


@dataclass
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    def json(self):
        assert self.status == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command of the command line."""
    monkeypatch.setenv("MUNJANG_HOME", str(tmp_path / "집"))

    def command(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return command
