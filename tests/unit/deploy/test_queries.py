"""Every metric that an alert, an autoscaler or the adapter asks for is one that the programs show."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from munjang.metrics import new_registry
from munjang.settings import WorkerSettings
from munjang.testing import FakeEncoder
from server.metrics.batching import BatchMetrics, show_load
from server.metrics.calls import REASONS, CallMetrics
from server.metrics.engine import EngineMetrics, show_versions
from server.metrics.registry import show_registry
from tools.alerts import PLAIN, SOURCE, plain
from worker.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
RULE = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
RULES = [rule for group in RULE["spec"]["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
OF_PROMETHEUS = {"job", "namespace", "instance", "pod", "le"}
STATUSES = "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED INTERNAL UNAVAILABLE DATA_LOSS RESOURCE_EXHAUSTED"
VALUES = {
    "code": set(STATUSES.split()),
    "state": {"failed", "available", "waiting", "running"},
    "lane": {"interactive", "bulk"},
    "outcome": {"failed", "ok", "done", "interrupted", "encoded"},
    "reason": set(REASONS),
    "namespace": {"munjang"},
}


class Idle:
    """An engine and a batcher that nobody asks."""

    encoder = FakeEncoder()


@pytest.fixture(scope="module")
def series():
    """The labels of every series of server and worker, by its name."""
    server, of_disks, worker = new_registry("server"), CollectorRegistry(), Metrics()
    CallMetrics(server, ["Encode"])
    EngineMetrics(server, print)
    BatchMetrics(server)
    show_load(server, Idle())
    show_versions(server, Idle())
    show_registry(of_disks, lambda: None, {"registry": ROOT})
    worker.watch_queue(lambda: (3, 1))
    worker.watch_disks({"output": ROOT})
    found = {}
    for registry in (server, worker.registry):
        for name, collector in registry._names_to_collectors.items():
            found[name] = set(getattr(collector, "_labelnames", ()))
    for registry in (of_disks, worker.registry):  # collectors whose labels only show when they are read
        for family in registry.collect():
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, set()) | set(sample.labels)
    return found


def selectors(expression):
    """The metrics of a query, with the labels that are matched and their values."""
    found = []

    def visit(node):
        if isinstance(node, promql_parser.MatrixSelector):
            visit(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, [(each.name, each.value) for each in node.matchers.matchers]))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def check(expression, series):
    """Assert that a query's metrics, labels and values exist."""
    found = selectors(expression)
    assert found
    known = set(OF_PROMETHEUS)
    for name, labels in found:
        assert name in series or name in RECORDED, name
        known |= series.get(name, set())
        for label, value in labels:
            assert label in series[name] | OF_PROMETHEUS, f"{name} has no label {label}"
            assert set(value.split("|")) <= VALUES[label], value
    grouped = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression)
    assert {label.strip() for group in grouped for label in group.split(",")} <= known


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_is_promql_over_metrics_that_exist(rule, series):
    check(rule["expr"], series)


def test_a_query_of_what_does_not_exist_is_found(series):
    for wrong in (
        "munjang_server_gone > 1",
        'munjang_server_ready{lane="bulk"} == 0',
        'munjang_server_versions{state="x"}',
    ):
        with pytest.raises((AssertionError, KeyError)):
            check(wrong, series)
    with pytest.raises(Exception, match=r"."):
        check("sum(munjang_server_ready", series)


def test_every_alert_says_what_is_wrong_and_where_to_read_on():
    wanted = {"ModelLoadFailed", "VersionsDiffer", "QueueAgeHigh", "ErrorBudgetBurn", "WorkerHeartbeatStale"}
    assert {rule["alert"] for rule in ALERTS} >= wanted | {"RegistryDiskFull"}
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_a_summary_names_only_labels_that_the_alert_has():
    for rule in ALERTS:
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = re.search(r"\bby \(([^)]*)\)", rule["expr"])
        if grouped:
            assert named <= {label.strip() for label in grouped[1].split(",")}
        else:
            assert named <= {"instance", "job", "namespace", "pod"}


def test_the_rules_for_a_prometheus_that_reads_files_are_the_same():
    assert PLAIN.read_text(encoding="utf-8") == plain()
    assert yaml.safe_load(plain()) == RULE["spec"]


def test_a_heartbeat_is_stale_only_after_the_lease_has_ended():
    (alert,) = [rule for rule in ALERTS if rule["alert"] == "WorkerHeartbeatStale"]
    assert float(re.search(r"> (\d+)$", alert["expr"])[1]) > WorkerSettings().lease_seconds


def test_keda_asks_prometheus_for_metrics_that_exist_in_the_namespace_it_is_in(render, series):
    for name in ("keda", "prod"):
        rendered = render(name)
        (trigger,) = rendered.named("ScaledObject", "munjang-server")["spec"]["triggers"]
        query = trigger["metadata"]["query"]
        check(query, series)
        (namespace,) = rendered.of("Namespace")
        assert set(re.findall(r'namespace="([^"]+)"', query)) == {namespace["metadata"]["name"]}


def test_the_adapter_makes_what_the_hpa_asks_for_of_metrics_that_exist(render, series):
    (rule,) = yaml.safe_load((ROOT / "deploy/k8s/components/hpa/prometheus-adapter.yaml").read_text("utf-8"))["rules"]
    (metric,) = render("hpa").named("HorizontalPodAutoscaler", "munjang-server")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    check(
        rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'namespace="munjang"'), series
    )
    assert rule["seriesQuery"].split("{")[0] in series
