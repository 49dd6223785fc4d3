"""The page of simulated figures is current: the scheduler still decides as it says."""

from __future__ import annotations

import json

import pytest

from tests.bench import simulated


def test_the_page_shows_what_the_scheduler_does():
    recorded = json.loads((simulated.OUT / "scheduling.json").read_text("utf-8"))
    found = simulated.measure()

    for engine, sections in recorded.items():
        for section, rows in sections.items():
            for row, now in zip(rows, found[engine][section], strict=True):
                assert now == pytest.approx(row, rel=0.1, abs=0.02), (engine, section)


def test_the_page_is_written_from_its_figures():
    recorded = json.loads((simulated.OUT / "scheduling.json").read_text("utf-8"))
    assert (simulated.OUT / "scheduling.md").read_text("utf-8") == simulated.page(recorded)


def test_overload_and_bulk_keep_what_is_promised():
    for sections in json.loads((simulated.OUT / "scheduling.json").read_text("utf-8")).values():
        rows = sections["open loop"]
        assert rows[-1]["useful"] >= 0.9 * max(row["useful"] for row in rows)
        assert all(row["dead_tokens"] < 0.01 for row in rows)
