"""Standard streams that are closed, full or left by their reader: one line on standard error, never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

MUNJANG = f"{sys.executable} -c 'from munjang.cli import run; run()'"


def shell(line):
    """Run a line of a shell in which MUNJANG is the command; status, standard output and standard error."""
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; munjang() {{ {MUNJANG} "$@"; }}; {line}'],
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


# `versions list` prints a table by rich, with --json one line; --version and --help print by themselves.
@pytest.mark.parametrize("command", ["--version", "--help", "versions list", "versions list --json"])
@pytest.mark.parametrize(
    ("stream", "reason"), [(">&-", "it is closed"), ("> /dev/full", "No space left on device")], ids=["closed", "full"]
)
def test_an_output_that_takes_nothing_is_one_line_and_status_1(command, stream, reason, tmp_path):
    (tmp_path / "registry").mkdir()
    status, _, err = shell(f"MUNJANG_HOME={tmp_path} munjang {command} {stream}")
    assert (status, err) == (1, f"error: standard output cannot be written: {reason}\n")


@pytest.mark.parametrize("command", ["--version", "versions list", "versions list --json"])
def test_a_reader_that_has_gone_is_one_line(command, tmp_path):
    (tmp_path / "registry").mkdir()
    line = f"exec 3> >(exec 0<&-); wait $!; MUNJANG_HOME={tmp_path} munjang {command} >&3"
    status, _, err = shell(line)
    assert (status, err) == (1, "error: standard output cannot be written: Broken pipe\n")


def test_a_closed_input_is_one_line():
    status, _, err = shell("munjang encode --file - <&-")
    assert (status, err) == (1, "error: standard input is closed\n")


def test_an_input_that_cannot_be_read_is_one_line():
    status, _, err = shell("munjang encode --file - 0>/dev/null")
    assert (status, err) == (1, "error: standard input cannot be read: Bad file descriptor\n")


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full"])
def test_an_error_that_nobody_can_read_is_still_an_exit_status(stream):
    assert shell(f"munjang encode 글 --target wrong {stream}") == (2, "", "")


def test_with_all_streams_closed_nothing_is_written_into_what_is_opened_next(tmp_path):
    line = f"MUNJANG_HOME={tmp_path} munjang versions list <&- >&- 2>&-"
    assert shell(line) == (1, "", "")
    assert all(path.read_bytes() == b"" for path in tmp_path.rglob("*") if path.is_file())


def test_an_output_of_nothing_needs_no_stream():
    assert shell("munjang versions remove 1 --registry /no/such/registry >&-")[0] == 1
