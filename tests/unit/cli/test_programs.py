"""A program is named as a person can type it: bare where their shell finds it, by its path where it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from munjang.cli.programs import shell_command


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An environment that has `munjang`, and a PATH without it."""
    place = tmp_path / "환경" / "bin"
    place.mkdir(parents=True)
    program = place / "munjang"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir("/")
    return program


def test_a_program_that_is_not_on_the_path_is_named_by_its_own(installed):
    assert Path(shell_command("munjang").strip("'")) in {installed, installed.relative_to("/")}


def test_below_the_working_directory_the_path_is_short(installed, tmp_path, monkeypatch):
    (tmp_path / "env").symlink_to(tmp_path / "환경")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert shell_command("munjang") == "env/bin/munjang"


def test_a_program_that_the_shell_finds_is_named_bare(installed, monkeypatch):
    monkeypatch.setenv("PATH", str(installed.parent))
    assert shell_command("munjang") == "munjang"


def test_another_program_of_that_name_is_not_taken_for_it(installed, tmp_path, monkeypatch):
    other = tmp_path / "munjang"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shell_command("munjang") != "munjang"


def test_what_is_not_installed_as_a_program_keeps_its_name(installed):
    assert shell_command("rq") == "rq"


def test_a_path_with_blanks_can_be_pasted(tmp_path, monkeypatch):
    place = tmp_path / "내 환경"
    place.mkdir()
    (place / "munjang").write_text("")
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    assert shell_command("munjang") == "'내 환경/munjang'"
