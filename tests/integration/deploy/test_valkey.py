"""The Valkey of the manifests: its command asks for the password, and shows it to nobody."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
import redis
import yaml

from munjang.cli.stack import valkey
from tests.ports import free_port

MANIFEST = Path(__file__).resolve().parents[3] / "deploy" / "k8s" / "base" / "valkey.yaml"
PASSWORD = "비밀 $HOME `x` 'y'"


def test_it_asks_for_a_password_that_no_list_of_processes_shows(tmp_path):
    (found,) = [each for each in yaml.safe_load_all(MANIFEST.read_text("utf-8")) if each["kind"] == "StatefulSet"]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    program, *arguments = container["args"]
    assert program == "valkey-server"
    arguments[arguments.index("--dir") + 1] = str(tmp_path)
    port = free_port()
    command = [*container["command"], str(valkey.find_binary()), *arguments, "--port", str(port), "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, env=os.environ | {"REDISCLI_AUTH": PASSWORD}, stdout=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 60
        while not _answers(port):
            assert server.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).get("x")
        assert redis.Redis(port=port, password=PASSWORD).ping()
        line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"valkey-server" in line
        assert PASSWORD.encode() not in line
    finally:
        server.terminate()  # the shell has become the server, which therefore gets the signal
        assert server.wait(60) == 0


def _answers(port):
    try:
        redis.Redis(port=port, password=PASSWORD).ping()
    except redis.ConnectionError:
        return False
    return True
