import shutil

import pytest

from munjang.cli.main import main
from munjang.registry import Registry


@pytest.fixture
def complete(capsys, monkeypatch, tmp_path):
    """What bash offers for a line that ends where the cursor is."""
    for name in ("TARGET", "REGISTRY", "REDIS_URL"):
        monkeypatch.delenv(f"MUNJANG_{name}", raising=False)
    monkeypatch.setenv("MUNJANG_HOME", str(tmp_path / "home"))

    def offered(line):
        monkeypatch.setenv("_MUNJANG_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        assert main([]) == 0
        return capsys.readouterr().out.split()

    return offered


@pytest.fixture
def registry(tiny_registry, tmp_path):
    folder = tmp_path / "home" / "registry"
    shutil.copytree(tiny_registry.url, folder)
    return Registry(str(folder))


def test_commands_are_completed_without_loading_them(complete):
    assert complete("munjang ver") == ["versions"]
    assert complete("munjang versions pro") == ["promote"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("munjang versions show ", ["stable", "1"]),
        ("munjang versions show st", ["stable"]),
        ("munjang versions promote ", ["stable", "1"]),
        ("munjang encode --version ", ["stable", "1"]),
        ("munjang encode --prompt ", ["query", "document"]),
        ("munjang similarity --version 1 --prompt q", ["query"]),
    ],
)
def test_versions_aliases_and_prompts_come_from_the_registry(complete, registry, line, words):
    assert complete(line) == words


@pytest.mark.parametrize(("option", "words"), [("--version ", ["stable", "1"]), ("--prompt ", ["query", "document"])])
def test_without_a_registry_they_come_from_the_server(complete, target, monkeypatch, option, words):
    monkeypatch.setattr("munjang.cli.completion.WAIT_SECONDS", 60.0)
    assert sorted(complete(f"munjang encode --target {target} {option}")) == sorted(words)


@pytest.mark.parametrize(
    "line", ["munjang encode --version ", "munjang encode --prompt ", "munjang jobs watch ", "munjang jobs cancel job-"]
)
def test_where_nothing_can_be_asked_nothing_is_offered(complete, monkeypatch, line):
    monkeypatch.setenv("MUNJANG_TARGET", "127.0.0.1:1")
    assert complete(line) == []
