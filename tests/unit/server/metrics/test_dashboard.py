"""The Grafana dashboard asks only for metrics and labels that server and worker have, and for all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from munjang.metrics import new_registry
from munjang.testing import FakeEncoder
from munjang_server.embedding_cache import CacheMetrics, VectorCache
from munjang_server.metrics import (
    EngineMetrics,
    RequestMetrics,
    SchedulerMetrics,
    show_load,
    show_registry,
    show_versions,
)
from munjang_worker.metrics import Metrics

DASHBOARD = json.loads((Path(__file__).resolve().parents[4] / "deploy" / "grafana" / "munjang.json").read_text())
OF_PROMETHEUS = {"instance", "le"}


class Idle:
    """An engine and a batcher with nothing to do."""

    ready = True
    encoder = FakeEncoder()

    def versions(self):
        return []


def expressions(node):
    """Every PromQL expression of the dashboard."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "expr")
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


@pytest.fixture(scope="module")
def labels():
    """The labels of every series that a server or a worker shows, by its name."""
    registry = new_registry("server")
    RequestMetrics(registry, {"grpc": ["Encode"]})
    EngineMetrics(registry, print)
    CacheMetrics(registry, VectorCache(0))
    SchedulerMetrics(registry)
    show_load(registry, Idle())
    show_versions(registry, Idle())
    show_registry(registry, lambda: None, {})
    names = {**registry._names_to_collectors, **Metrics().registry._names_to_collectors}.items()
    of_process = {
        family.name: set() for family in new_registry("server").collect() if family.name.startswith("process_")
    }
    counters = {f"{name}_total": set() for name in of_process}
    read_late = {
        f"munjang_{who}_disk_{what}_bytes": {"place"} for who in ("server", "worker") for what in ("free", "size")
    }
    read_late["munjang_queue_steps"] = {"state"}
    return of_process | counters | {name: set(getattr(each, "_labelnames", ())) for name, each in names} | read_late


EXPRESSIONS = sorted(set(expressions(DASHBOARD)))


def test_the_dashboard_has_expressions():
    assert len(EXPRESSIONS) > 30


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_exists(labels, expression):
    series = re.findall(r"\b((?:munjang|process)_\w+)", expression)
    assert series
    for name in series:
        assert name in labels, name
    known = set().union(*(labels[name] for name in series)) | OF_PROMETHEUS
    if any(name.endswith("_info") for name in series):
        known.add("release")
    grouped = {
        label.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")
    }
    matched = set(re.findall(r"[{,](\w+)(?:=|!=)", expression))
    assert grouped | matched <= known


def test_every_panel_has_a_title_and_says_what_it_means():
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith(".")


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_every_metric_is_on_the_dashboard(labels):
    shown = {name for expression in EXPRESSIONS for name in re.findall(r"\bmunjang_\w+", expression)}
    families = {re.sub(r"_(total|created|bucket|sum|count|info)$", "", name) for name in labels if "munjang" in name}
    assert families == {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in shown}
