import os
import subprocess
import sys

import pytest

from munjang.cli.options import Server, found_settings
from munjang.cli.running import NOTE, Running, read


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The home in which a second terminal looks."""
    for name in ("TARGET", "REGISTRY"):
        monkeypatch.delenv(f"MUNJANG_{name}", raising=False)
    monkeypatch.setenv("MUNJANG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def up(tmp_path):
    return Running(os.getpid(), str(tmp_path / "다른 집"), "127.0.0.1:4711", str(tmp_path / "r"))


def test_commands_find_target_and_registry_of_a_running_up(home, up):
    with up.noted([home]):
        assert Server().client_options()["targets"] == up.target
        assert found_settings().registry_url == up.registry
    assert Server().client_options()["targets"] == "127.0.0.1:50051"
    assert found_settings().registry_url == str(home / "registry")


def test_options_and_variables_go_before_a_running_up(home, up, monkeypatch):
    with up.noted([home]):
        assert Server(target="127.0.0.1:1").client_options()["targets"] == "127.0.0.1:1"
        monkeypatch.setenv("MUNJANG_TARGET", "127.0.0.1:2")
        monkeypatch.setenv("MUNJANG_REGISTRY", "memory://mine")
        assert Server().client_options()["targets"] == "127.0.0.1:2"
        assert found_settings().registry_url == "memory://mine"


def test_a_note_of_one_who_died_counts_for_nothing(home, up):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(30)
    home.mkdir()
    (home / NOTE).write_text(f'{{"pid": {child.pid}, "home": "h", "target": "t", "registry": "r"}}')
    assert read(home) is None
    with up.noted([home]):
        assert read(home) == up


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1, "what": 2}'])
def test_a_note_that_is_none_counts_for_nothing(home, text):
    home.mkdir()
    (home / NOTE).write_text(text)
    assert read(home) is None


def test_the_note_of_another_up_stays(home, up):
    other = Running(os.getpid(), "h", "t", "r")
    with other.noted([home]):
        with up.noted([home]):
            assert read(home) == other
        assert read(home) == other
    assert not home.exists()  # it was made for the note


def test_a_home_with_something_in_it_stays(home, up):
    home.mkdir()
    with up.noted([home]):
        (home / "registry").mkdir()
    assert [path.name for path in home.iterdir()] == ["registry"]


def test_the_export_line_is_fit_for_a_shell(up):
    assert f"MUNJANG_HOME='{up.home}' MUNJANG_TARGET={up.target} MUNJANG_REGISTRY={up.registry}" in up.export()
