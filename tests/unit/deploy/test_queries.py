"""Every metric that an alert, an autoscaler or the adapter asks for is one that the programs show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from munjang.settings import WorkerSettings
from tools.alerts import PLAIN, SOURCE, plain

ROOT = Path(__file__).resolve().parents[3]
RULE = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
RULES = [rule for group in RULE["spec"]["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_is_promql_over_metrics_that_exist(rule, check_query):
    check_query(rule["expr"], RECORDED)


def test_a_query_of_what_does_not_exist_is_found(check_query):
    for wrong in (
        "munjang_server_gone > 1",
        'munjang_server_ready{lane="bulk"} == 0',
        'munjang_server_versions{state="x"}',
    ):
        with pytest.raises((AssertionError, KeyError)):
            check_query(wrong)
    with pytest.raises(Exception, match=r"."):
        check_query("sum(munjang_server_ready")


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


def test_keda_asks_prometheus_for_metrics_that_exist_in_the_namespace_it_is_in(render, check_query):
    for name in ("keda", "prod"):
        rendered = render(name)
        (trigger,) = rendered.named("ScaledObject", "munjang-server")["spec"]["triggers"]
        query = trigger["metadata"]["query"]
        check_query(query)
        (namespace,) = rendered.of("Namespace")
        assert set(re.findall(r'namespace="([^"]+)"', query)) == {namespace["metadata"]["name"]}


def test_the_adapter_makes_what_the_hpa_asks_for_of_metrics_that_exist(render, series, check_query):
    (rule,) = yaml.safe_load((ROOT / "deploy/k8s/components/hpa/prometheus-adapter.yaml").read_text("utf-8"))["rules"]
    (metric,) = render("hpa").named("HorizontalPodAutoscaler", "munjang-server")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    check_query(
        rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'namespace="munjang"')
    )
    assert rule["seriesQuery"].split("{")[0] in series
