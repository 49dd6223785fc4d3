"""The base install: what of it works without the extras, and what it says of the rest."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

BLOCK = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""

EXTRAS = [
    "filelock", "fsspec", "opentelemetry", "openvino", "pydantic", "pydantic_settings", "redis", "rich", "rq",
    "safetensors", "structlog", "tokenizers", "torch", "transformers", "typer",
]  # fmt: skip


def run(code, missing, *, status=0):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(names=set(missing)) + code],
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done


def test_the_client_needs_nothing_but_the_base_install():
    code = """
from munjang.client import AsyncClient, Client
from munjang.errors import MunjangError
with Client("127.0.0.1:1", timeout=5) as client:
    try:
        client.encode("글")
    except MunjangError as error:
        print(error.reason)
"""
    assert run(code, EXTRAS).stdout.strip()


@pytest.mark.parametrize("missing", [["typer"], ["pydantic", "pydantic_settings"], ["rich"], EXTRAS])
def test_the_command_on_a_base_install_says_what_to_install(missing):
    code = "import sys; sys.argv = ['munjang', 'versions', 'list']; from munjang.cli import run; run()"
    done = run(code, missing, status=1)
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(": pip install 'munjang[cli]'\n")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_the_command_line_needs_no_other_extra():
    others = set(EXTRAS) - {"filelock", "pydantic", "pydantic_settings", "rich", "typer"}
    assert (
        "munjang"
        in run("import sys; sys.argv = ['munjang', '--help']; from munjang.cli import run; run()", others).stdout
    )


def test_the_command_of_the_wheel_is_the_one_that_can_say_so():
    assert PROJECT["scripts"] == {"munjang": "munjang.cli:run"}


@pytest.mark.parametrize("extra", ["models", "server", "worker", "trainer", "starter"])
def test_each_program_brings_the_command_line(extra):
    def included(name):
        for line in PROJECT["optional-dependencies"][name]:
            if line.startswith("munjang["):
                for other in line.removeprefix("munjang[").removesuffix("]").split(","):
                    yield other
                    yield from included(other)

    assert "cli" in set(included(extra))
