"""docs/jobs.md: every option, reason and setting on the page exists, and none is missing there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer

from munjang.bulk.job import JobSpec
from munjang.cli.jobs import app
from munjang.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for room in ("worker", "munjang") for path in sorted((ROOT / room).rglob("*.py"))
)
SUBMIT = typer.main.get_command(app).commands["submit"]  # type: ignore[attr-defined]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    found = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    return found[2:]


def test_every_option_of_a_job_is_in_the_table_with_its_flag() -> None:
    table = {name.strip("`"): flag.strip("`") for name, flag, _ in rows("Options")}
    assert table.keys() == JobSpec.model_fields.keys()
    flags = {flag for parameter in SUBMIT.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {flag for flag in table.values() if flag.startswith("--")} <= flags
    for name, _, meaning in rows("Options"):
        kinds = re.findall(r"Literal\[(.*?)\]", str(JobSpec.model_fields[name.strip("`")].annotation))
        for choice in re.findall(r"'(\w+)'", " ".join(kinds)):
            assert choice == "auto" or f"`{choice}`" in meaning, (name, choice)


def test_every_reason_of_a_bad_row_is_in_the_table() -> None:
    raised = set(re.findall(r'Problem\(\s*"([A-Z_]+)"', SOURCES))
    assert {reason.strip("`") for reason, _ in rows("Bad rows")} == raised


def test_every_setting_on_the_page_exists_and_has_the_default_that_is_told() -> None:
    told = re.findall(r"`MUNJANG_([A-Z_]+)`(?: \((\d+)\))?", PAGE)
    assert len(told) > 8
    for name, default in told:
        setting = WorkerSettings.model_fields[name.lower()]
        assert not default or str(setting.default) == default, name


@pytest.mark.parametrize("seen", [row[0] for row in rows("If something is wrong")])
def test_every_message_on_the_page_is_one_that_the_programs_give(seen: str) -> None:
    message = re.sub(r"'[^']*'", "…", seen.split("`")[1])
    for fragment in (part.strip() for part in message.split("…")):
        assert fragment in SOURCES, fragment


def test_the_output_is_read_as_the_page_says(
    jsonl: Callable[[list[Any]], Path],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(jsonl([{"text": f"문장 {number}"} for number in range(2100)]), output=str(tmp_path / "vectors"))
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "pyarrow" in block]
    found: dict[str, Any] = {}
    exec(compile(block, "docs/jobs.md", "exec"), found)  # noqa: S102 - the page's own lines
    assert found["vectors"].shape == (2100, 8)
    assert found["vectors"].dtype == np.float32
    assert found["version"] == 7
    assert found["table"]["id"].to_pylist() == list(range(2100))
