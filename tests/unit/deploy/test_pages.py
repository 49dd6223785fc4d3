"""Every page of the documentation: the commands, settings and metrics that it names exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from munjang.cli.main import app
from munjang.cli.programs import MODULES
from munjang.settings import ClientSettings, ServerSettings, TrainerSettings, UpSettings, WorkerSettings
from munjang_trainer.cli import app as trainer_app

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "deploy/README.md")
OTHERS = [ROOT / name for name in NAMES]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *OTHERS]
LOOKED_AT_ELSEWHERE = {"operations.md", "benchmarks.md"}
"""The one has a test of its own; the other names what was measured."""

KINDS = (ServerSettings, WorkerSettings, TrainerSettings, ClientSettings, UpSettings)


def code(page):
    """What stands as code on a page: the lines of shell blocks, and code within sentences."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:sh|shell|bash)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n", " ", block).splitlines()]
    return [*lines, *(" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose))]


def commands(program):
    """Every call of a program on any page, as words: what a line begins with, after values of variables or a folder."""
    found = set()
    for page in PAGES:
        for line in code(page) if page.name not in LOOKED_AT_ELSEWHERE else ():
            call = re.match(rf"(?:[A-Z_]+=\S+ )*(?:\S+/)?{program} ([^|;&#>]*)", line.strip())
            if call and "…" not in call[1]:
                found.add((page.name, tuple(shlex.split(call[1]))))
    return sorted(found)


def name_of(each):
    """The name of a case, by its page or its words."""
    return each if isinstance(each, str) else " ".join(each)


def check(program, words):
    """Assert that a command exists and has the options that it is given."""
    path = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
    for depth in (len(path), 1):
        done = CliRunner().invoke(program, [*path[:depth], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        if done.exit_code == 0:
            break
    assert done.exit_code == 0, done.output
    assert all(re.search(rf"{word}\b", done.output) for word in words if word.startswith("--"))


def started(*words):
    """Calls of `munjang` that start these programs, or with no words all that start none."""
    return [call for call in commands("munjang") if (call[1][:1] and call[1][0] in (words or MODULES)) == bool(words)]


@pytest.mark.parametrize(("page", "words"), started(), ids=name_of)
def test_a_command_of_ours_exists_with_the_options_it_is_given(page, words):
    check(app, words)


@pytest.mark.parametrize(("page", "words"), started("train"), ids=name_of)
def test_a_command_of_the_trainer_exists_with_the_options_it_is_given(page, words):
    check(trainer_app, words[1:])


@pytest.mark.parametrize(("page", "words"), started("serve", "work"), ids=name_of)
def test_a_command_that_starts_a_program_exists_with_the_options_it_is_given(page, words):
    path = [word for word in words[1:3] if re.fullmatch("[a-z]+", word)]
    command = [sys.executable, "-m", MODULES[words[0]], *path, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert all(re.search(rf"{word}\b", done.stdout) for word in words if word.startswith("--"))


def test_commands_are_found_on_the_pages_that_show_them():
    found = {page for page, _ in commands("munjang")}
    assert {"README.md", "quickstart.md", "concepts.md", "rollover.md", "security.md", "sizing.md"} <= found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_on_a_page_exists(page):
    known = {f"MUNJANG_{field.upper()}" for kind in KINDS for field in kind.model_fields}
    named = set(re.findall(r"\bMUNJANG_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_on_a_page_exists(page, series):
    shown = set(series) | {re.sub(r"_(bucket|total)$", "", name) for name in series}
    named = {name for each in code(page) for name in re.findall(r"\bmunjang_(?:server|worker|queue)_\w+", each)}
    assert named <= shown
