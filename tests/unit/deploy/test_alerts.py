"""Every alert fires when it should, says what it should, and keeps quiet otherwise: by Prometheus's own evaluation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.alerts import PLAIN

CASES = yaml.safe_load(Path(__file__).with_name("alert_cases.yaml").read_text(encoding="utf-8"))
RULES = [rule for group in yaml.safe_load(PLAIN.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"] for rule in RULES if "alert" in rule}


@pytest.fixture(scope="module")
def promtool():
    """Prometheus's tool: a laptop may lack it, CI may not."""
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("there is no promtool, and CI is set")
        pytest.skip("there is no promtool: install Prometheus")
    return found


def expected(case):
    """The alerts of a case as promtool wants to hear of them."""
    return [
        {
            "exp_labels": each["labels"],
            "exp_annotations": {
                "summary": each["summary"],
                "runbook_url": f"docs/operations.md#{case['alert'].lower()}",
            },
        }
        for each in case.get("fires", [])
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['alert']}: {case['name']}")
def test_an_alert_fires_or_not_as_the_case_says(case, promtool, tmp_path):
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case["series"].items()],
        "alert_rule_test": [{"eval_time": case["at"], "alertname": case["alert"], "exp_alerts": expected(case)}],
    }
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(PLAIN)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_firing_and_quiet():
    firing = {case["alert"] for case in CASES if case.get("fires")}
    quiet = {case["alert"] for case in CASES if not case.get("fires")}
    assert firing == quiet == ALERTS
    labels = [each["labels"] for case in CASES for each in case.get("fires", [])]
    severities = {(rule["alert"], rule["labels"]["severity"]) for rule in RULES if "alert" in rule}
    assert {each["severity"] for each in labels} == {severity for _, severity in severities}


def test_the_series_of_the_cases_are_those_that_the_programs_show(series):
    for case in CASES:
        for written, values in case["series"].items():
            assert isinstance(values, str), f"YAML takes {values} for a number"
            name, _, rest = written.partition("{")
            if name == "up":
                continue
            assert name in series, name
            shown = set(re.findall(r"(\w+)=", rest))
            assert shown <= series[name] | {"namespace", "job", "instance", "le"}
