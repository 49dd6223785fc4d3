import subprocess
import sys

import pytest

from munjang import __version__
from munjang.cli.main import main

COMMANDS = [
    ["up"], ["demo"], ["encode"], ["similarity"], ["rerank"], ["health"], ["bench"], ["versions"], ["versions", "list"],
    ["versions", "show"], ["versions", "publish"], ["versions", "promote"], ["versions", "rollback"],
    ["versions", "verify"], ["versions", "remove"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does_with_an_example(command, capsys):
    assert main([*command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"munjang {' '.join(command)}" in shown
    if command != ["versions"]:
        assert "Example" in shown


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"munjang {__version__}\n"


@pytest.mark.parametrize("arguments", [["encode"], ["encode", "글", "--precision", "float8"], ["fly"], ["--wrong"]])
def test_wrong_usage_has_status_2(arguments, capsys):
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_is_one_line_and_status_1(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["similarity", "글", "--target", "127.0.0.1"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "error: '127.0.0.1' is not HOST:PORT\n"
    assert not captured.out


def test_a_wrong_setting_is_named(capsys, monkeypatch):
    monkeypatch.setenv("MUNJANG_TIMEOUT", "soon")
    assert main(["encode", "글"]) == 1
    assert "MUNJANG_TIMEOUT is 'soon'" in capsys.readouterr().err


def test_an_interrupt_is_quiet(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("munjang.cli.options.Server.connect", interrupted)
    assert main(["encode", "글"]) == 130
    assert not capsys.readouterr().err


def test_a_mistake_of_our_own_is_no_traceback(monkeypatch, capsys):
    def broken(*_, **__):
        return 1 / 0

    monkeypatch.setattr("munjang.cli.options.Server.connect", broken)
    assert main(["encode", "글"]) == 1
    assert capsys.readouterr().err.startswith("error: this should not have happened: ZeroDivisionError")


def test_the_command_line_does_not_wait_for_torch():
    heavy = ["torch", "transformers", "redis", "matplotlib"]
    code = f"import sys, munjang.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
