"""The sizing guide: every figure comes out of docs/bench, and the arithmetic on it is right."""

from __future__ import annotations

import copy
import json
import math
import re

import pytest

from tools import sizing


@pytest.fixture(scope="module")
def figures():
    return [
        json.loads((sizing.DOCS / "bench" / f"{name}.json").read_text("utf-8")) for name in ("speed", "memory", "bulk")
    ]


def test_the_page_is_what_the_figures_say():
    assert sizing.PATH.read_text(encoding="utf-8") == sizing.page()


def test_no_figure_stands_in_the_words_themselves():
    words = re.sub(r"\{\w+\}|`[^`]*`|p50|p99|384", "", sizing.TEMPLATE.read_text(encoding="utf-8"))
    assert re.findall(r"\d+", words) == []


def test_every_gap_is_filled_and_nothing_is_computed_in_vain(figures):
    gaps = set(re.findall(r"\{(\w+)\}", sizing.TEMPLATE.read_text(encoding="utf-8")))
    known = sizing.values(*figures)
    assert gaps <= set(known)
    measured = {f"{who}_{name}" for who in ("server", "worker") for name in figures[1][who]}
    assert set(known) - gaps <= measured


def test_servers_are_counted_by_the_planned_share_and_one_more(figures):
    speed, memory, bulk = copy.deepcopy(figures)
    for case in speed["served"]["cases"]:
        case["servers"]["munjang"]["texts_per_second"]["median"] = 100.0
    found = sizing.values(speed, memory, bulk)
    assert (found["most"], found["planned"]) == ("100", "60")
    assert (found["servers"], found["servers_and_one"]) == ("5", "6")


def test_workers_are_counted_by_the_hours_of_a_day(figures):
    speed, memory, bulk = copy.deepcopy(figures)
    speed["bulk"]["rows_per_second"]["median"] = 1000.0
    found = sizing.values(speed, memory, bulk)
    assert found["bulk_minutes"] == sizing.digits(1e6 / 1000 / 60)
    assert found["bulk_workers"] == str(math.ceil(1e8 / (1000 * 86_400)))


def test_a_measured_gpu_is_not_called_unmeasured(figures):
    speed, memory, bulk = copy.deepcopy(figures)
    speed["gpu"] = {"skipped": "no CUDA device"}
    assert "Not measured" in sizing.values(speed, memory, bulk)["gpu"]
    speed["gpu"] = {"rates": {}}
    assert "benchmarks.md#gpu" in sizing.values(speed, memory, bulk)["gpu"]
