"""docs/operations.md: a run-book for every alert and no other, and nothing in it that does not exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from munjang.cli.main import app
from munjang.cli.programs import MODULES
from munjang.settings import ClientSettings, ServerSettings, TrainerSettings, UpSettings, WorkerSettings
from tools.alerts import SOURCE

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOKS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE.split("\n## Run-books\n")[1], re.MULTILINE | re.DOTALL))
RULES = [
    rule for group in yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["spec"]["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
QUERIES = [line for kind, block in BLOCKS if kind == "promql" for line in block.splitlines()]
SHELL = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
INLINE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", PROSE)]
OF_OTHERS = {"munjang-redis", "munjang-s3"}
"""Secrets, which the manifests refer to."""


WIDE = {"COLUMNS": "200", "TERM": "dumb"}


def commands():
    """Every call of the `munjang` command on the page, as words."""
    for line in [*SHELL, *INLINE]:
        for part in re.findall(r"(?:^|-- |up -- )(munjang [^|;&#]*)", line.strip()):
            words = shlex.split(part)
            if "…" not in words and words[1:]:
                yield tuple(words[1:])


def test_every_alert_has_a_run_book_and_every_run_book_an_alert():
    assert set(RUNBOOKS) == set(ALERTS)
    anchors = {rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    assert anchors == {f"docs/operations.md#{name.lower()}" for name in RUNBOOKS}


@pytest.mark.parametrize("name", ALERTS)
def test_a_run_book_says_what_it_means_what_users_feel_how_to_look_mend_and_know(name):
    text = RUNBOOKS[name]
    places = [text.index(f"**{part}**") for part in ("Means", "Users feel", "Look", "Mend", "Mended")]
    assert places == sorted(places)
    severities = {rule["labels"]["severity"] for rule in RULES if rule.get("alert") == name}
    assert severities == {each.lower() for each in re.findall(r"\*(page|ticket)\b", text, re.IGNORECASE)}
    assert "```sh\n" in text


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_promql_over_metrics_that_exist(query, check_query):
    check_query(query, RECORDED)


def test_every_metric_in_the_text_exists(series):
    named = {name for code in INLINE for name in re.findall(r"\bmunjang_(?:server|worker|queue)_\w+", code)}
    assert len(named) > 10
    shown = set(series) | {re.sub(r"_(bucket|total)$", "", name) for name in series}
    assert named <= shown


def test_every_setting_in_the_text_exists():
    kinds = (ServerSettings, WorkerSettings, TrainerSettings, ClientSettings, UpSettings)
    known = {f"MUNJANG_{field.upper()}" for kind in kinds for field in kind.model_fields}
    named = set(re.findall(r"\bMUNJANG_[A-Z_]+", PAGE))
    assert len(named) > 20
    assert named <= known


@pytest.mark.parametrize("words", sorted(set(commands())), ids=" ".join)
def test_a_command_of_ours_exists_with_the_options_it_is_given(words):
    program = MODULES.get(words[0])  # a command that becomes another program would take this one's place
    path = [word for word in words[: 3 if program else 2] if re.fullmatch("[a-z]+", word)]
    if program:
        command = [sys.executable, "-m", program, *path[1:], "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | WIDE)
        shown = done.stdout
    else:
        found = CliRunner().invoke(app, [*path, "--help"], env=WIDE)
        assert found.exit_code == 0, found.output
        shown = found.output
    assert all(re.search(rf"{word}\b", shown) for word in words if word.startswith("--"))


def test_enough_commands_are_looked_at():
    assert {words[:2] for words in commands()} >= {("versions", "rollback"), ("jobs", "retry"), ("versions", "verify")}


def test_every_name_of_kubernetes_is_one_of_the_manifests(render):
    objects = [each for name in ("cpu", "prod") for each in render(name).objects]
    known = OF_OTHERS | {each["metadata"]["name"] for each in objects}
    named = set(re.findall(r"(?<![\w.$-])munjang-[a-z0-9]+(?:-[a-z]+)*", PAGE))
    assert len(named) > 5
    assert named <= known


def test_every_drill_is_told_of_and_every_drill_told_of_exists():
    folder = ROOT / "tests" / "e2e" / "drills"
    told = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert told == {path.name for path in folder.glob("test_*.py")}
    for name in told:
        assert (folder / name).read_text(encoding="utf-8").startswith('"""Promise: ')


def test_every_event_that_logs_are_searched_for_is_logged():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for name in ("server", "worker", "munjang")
        for path in (ROOT / name).rglob("*.py")
    )
    searched = set(re.findall(r'\.event == "([^"]+)"|startswith\("([^"]+)"\)', PAGE))
    assert len(searched) > 5
    for event in ("".join(pair) for pair in searched):
        assert f'"{event}' in sources, event
