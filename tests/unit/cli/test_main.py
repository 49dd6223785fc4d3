import os
import subprocess
import sys
from typing import get_args

import pytest
import typer

from munjang import __version__
from munjang.cli import versions
from munjang.cli.main import COMMANDS as LISTED
from munjang.cli.main import app, main
from munjang.errors import ServerUnreachable, Unauthenticated
from munjang.publishing.catalogue import Pooling

COMMANDS = [
    ["up"], ["demo"], ["encode"], ["similarity"], ["search"], ["rerank"], ["health"], ["bench"], ["versions"],
    ["versions", "list"], ["versions", "show"], ["versions", "publish"], ["versions", "promote"],
    ["versions", "rollback"], ["versions", "verify"], ["versions", "remove"],
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


def test_an_address_that_is_none_is_wrong_usage_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["similarity", "글", "--target", "127.0.0.1"]) == 2
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


HEAVY = ["grpc", "numpy", "pydantic", "torch", "munjang.client", "munjang.settings", "munjang.encoder"]


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["--help"], [*HEAVY, "munjang.registry", "munjang.cli.versions"]),
        (["--version"], [*HEAVY, "munjang.registry", "munjang.cli.versions"]),
        (["jobs", "--help"], ["grpc", "torch", "munjang.client", "munjang.registry"]),
        (["versions", "list"], ["grpc", "torch", "munjang.client", "munjang.engine"]),
    ],
    ids=" ".join,
)
def test_a_command_imports_only_what_it_uses(arguments, spared, tmp_path):
    code = f"""
import sys
from munjang.cli.main import main
main({arguments})
print([name for name in {spared} if name in sys.modules], file=sys.stderr)
"""
    environment = os.environ | {"MUNJANG_HOME": str(tmp_path), "MUNJANG_REGISTRY": str(tmp_path)}
    environment.pop("MUNJANG_TARGET", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60, env=environment)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_the_list_of_commands_says_what_their_own_help_says():
    for name, later in LISTED.items():
        group = typer.main.get_command(app)
        own = later.load(name, group).help
        assert " ".join(own.split("\n\n")[0].split()) == later.help, name


def test_a_prompt_without_a_name_is_wrong_usage(capsys, tmp_path):
    assert main(["versions", "publish", str(tmp_path), "--prompts", "query", "--registry", str(tmp_path)]) == 2
    assert "--prompts takes NAME=TEXT" in capsys.readouterr().err


def test_a_pooling_that_is_none_is_wrong_usage(capsys, tmp_path):
    assert main(["versions", "publish", str(tmp_path), "--pooling", "average"]) == 2
    assert "weightedmean" in capsys.readouterr().err


def test_the_poolings_are_those_of_publishing():
    assert set(get_args(versions.Pooling)) == set(get_args(Pooling))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ServerUnreachable("weg"), "weg — is a server running? `munjang up` starts one"),
        (ServerUnreachable("no TLS", field="tls"), "error: no TLS\n"),
        (
            Unauthenticated("no token"),
            "no token — set MUNJANG_TOKEN, or --token; `munjang serve token new NAME` makes one",
        ),
    ],
)
def test_what_a_server_refuses_comes_with_its_cure(monkeypatch, capsys, error, said):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("munjang.cli.options.Server.connect", fails)
    monkeypatch.setattr("munjang.cli.main.shell_command", lambda name: name)
    assert main(["encode", "글"]) == 1
    assert said in capsys.readouterr().err
