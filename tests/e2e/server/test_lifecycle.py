"""The server as a process: how it starts, waits and stops, and what it says when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from munjang.client import Client, RetryPolicy
from munjang.errors import ServerUnreachable, ShuttingDown, TryLater, Unauthenticated
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model

TEXTS = ["첫 문장", "둘째 문장"]


@pytest.fixture
def registry(tmp_path):
    """A registry with one small version behind stable."""
    registry = Registry(str(tmp_path / "registry"))
    publish_model(registry, tiny_model(tmp_path / "model"), Lineage())
    registry.promote("stable", 1, "test")
    return registry


def run(*arguments, **settings):
    """Run `munjang serve` to its end."""
    names = {f"MUNJANG_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "munjang_server", *arguments],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_calls_in_flight_at_sigterm_are_answered(registry, start_server):
    server = start_server(registry.url, lame_duck_seconds=0.1)
    begun, answered, refused = threading.Event(), [], []

    def call(client):
        while not refused:
            try:
                answered.append(client.encode([f"{number}번 문장" for number in range(200)]).version)
            except TryLater as error:
                refused.append(error)
            begun.set()

    with Client(server.target, retry=RetryPolicy(attempts=1)) as client:
        client.wait_ready(240)
        caller = threading.Thread(target=call, args=[client])
        caller.start()
        assert begun.wait(60)
        assert server.stop() == 0
        caller.join(60)
        assert not caller.is_alive()
    assert set(answered) == {1}
    assert isinstance(refused[0], ShuttingDown | ServerUnreachable)
    server.wait_for("drained")
    assert not any(line["event"] == "internal error" for line in server.lines)
    assert not any("Traceback" in line or "never" in line for line in server.plain)


def test_ctrl_c_ends_it_without_a_lame_duck(registry, start_server):
    server = start_server(registry.url, lame_duck_seconds=600, drain_seconds=900)
    server.wait_for("serving")
    assert server.stop(signal.SIGINT) == 0
    assert server.wait_for("stopping")["signal"] == "SIGINT"


def test_a_second_signal_ends_it_at_once_and_not_with_zero(registry, start_server):
    server = start_server(registry.url, lame_duck_seconds=60, drain_seconds=90)
    server.wait_for("serving")
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("not serving", reason="draining")
    assert server.stop() == 128 + signal.SIGTERM


def test_a_server_with_an_empty_registry_waits_and_serves_the_first_version(tmp_path, start_server):
    registry = Registry(str(tmp_path / "later"))
    server = start_server(registry.url, watch_seconds=0.05)
    waiting = server.wait_for("not serving")
    assert "waiting for a first version" in waiting["reason"]
    with Client(server.target) as client:
        publish_model(registry, tiny_model(tmp_path / "model"), Lineage())
        registry.promote("stable", 1, "test")
        client.wait_ready(240)
        assert client.encode(TEXTS).version == 1
    assert server.stop() == 0


def test_a_port_that_is_taken_is_one_clear_line(registry):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(registry=registry.url, port=port)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1] == (
        f"munjang server: cannot listen on 127.0.0.1:{port}: Address already in use"
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"port": "하나"}, "MUNJANG_PORT:"),
        ({"host": "256.0.0.1"}, "cannot listen on 256.0.0.1"),
        ({"aliases": " , "}, "MUNJANG_ALIASES"),
        ({"registry": "nothing://there"}, "nothing"),
        ({"tls_cert": "/nicht/da.pem"}, "MUNJANG_TLS_KEY"),
        ({"tokens_file": "/nicht/da.toml"}, "/nicht/da.toml"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path, settings, line):
    ended = run(**{"registry": tmp_path, "port": 0} | settings)
    assert ended.returncode == 2
    [said] = [each for each in ended.stderr.splitlines() if each.startswith("munjang server:")]
    assert line in said
    assert "Traceback" not in ended.stderr


def test_tokens_made_on_the_command_line_open_the_server(registry, tmp_path, start_server):
    path = tmp_path / "tokens.toml"
    made = run("token", "new", "search", tokens_file=path)
    assert made.returncode == 0
    server = start_server(registry.url, tokens_file=path)
    with Client(server.target, token=made.stdout.strip()) as client:
        client.wait_ready(240)
        assert client.encode(TEXTS).version == 1
    with Client(server.target) as client, pytest.raises(Unauthenticated):
        client.encode(TEXTS)
    assert server.stop() == 0


def test_making_a_token_without_a_file_says_what_to_set():
    ended = run("token", "new", "search", tokens_file="")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "MUNJANG_TOKENS_FILE" in ended.stderr
