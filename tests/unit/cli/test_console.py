import io
import re

import pytest
from rich.console import Console

from munjang.cli import console


@pytest.fixture
def screen(monkeypatch):
    """Standard error as a terminal would have it."""
    shown = io.StringIO()
    monkeypatch.setattr(console, "stderr", lambda: Console(file=shown, force_terminal=True, width=80))
    return shown


def test_what_is_quick_shows_no_bar(screen):
    with console.progress("빠름", 3) as advance:
        advance(3)
    assert not screen.getvalue()


def test_what_takes_longer_shows_a_bar(screen, monkeypatch):
    monkeypatch.setattr(console, "PROGRESS_AFTER_SECONDS", -1)
    with console.progress("느림", 3) as advance:
        advance(1)
    assert "느림" in screen.getvalue()


def test_a_pipe_gets_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(console, "PROGRESS_AFTER_SECONDS", -1)
    with console.progress("느림", 3) as advance:
        advance(1)
    assert not capsys.readouterr().err


def test_what_happens_now_is_told_line_by_line_in_a_pipe(capsys):
    with console.status_line() as tell:
        tell("[시작]")
        tell("")
    assert capsys.readouterr().err == "[시작] (0 s)\n"


def test_what_happens_now_is_one_moving_line_with_its_time_on_a_terminal(screen):
    with console.status_line() as tell:
        tell("[시작]")
        tell("")
    assert re.search(r"\[시작\].*0:00:00", screen.getvalue())


def test_json_keeps_hangul(capsys):
    console.print_json({"글": [1]})
    assert capsys.readouterr().out == '{"글": [1]}\n'


def test_a_long_text_is_cut_to_one_line():
    assert console.shorten("가\n나  다", 10) == "가 나 다"
    assert console.shorten("가나다라마", 4) == "가나다…"
