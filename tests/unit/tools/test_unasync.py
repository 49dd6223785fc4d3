"""The sync client is the async one with other words, and stays so."""

from __future__ import annotations

import inspect

import pytest

from munjang.client import AsyncClient, Client
from tools import unasync

SOURCE = unasync.SOURCE.read_text(encoding="utf-8")


def test_the_committed_sync_client_is_what_the_async_one_generates():
    assert unasync.TARGET.read_text(encoding="utf-8") == unasync.generated(SOURCE)


def test_a_change_of_the_async_client_alone_is_caught(monkeypatch, tmp_path, capsys):
    changed = tmp_path / "async_client.py"
    changed.write_text(SOURCE.replace("READY_POLL_SECONDS: Final = 0.1", "READY_POLL_SECONDS: Final = 0.2"))
    monkeypatch.setattr(unasync, "SOURCE", changed)
    monkeypatch.setattr("sys.argv", ["unasync", "--check"])
    assert unasync.main() == 1
    assert "run `python -m tools.unasync`" in capsys.readouterr().err


def test_a_word_of_asyncio_without_a_replacement_is_an_error():
    with pytest.raises(ValueError, match="asyncio"):
        unasync.generated("import asyncio\n")


def test_both_clients_have_the_same_methods_with_the_same_parameters():
    def methods(client):
        return {
            name: list(inspect.signature(function).parameters)
            for name, function in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
