"""What `kubectl kustomize` makes of the overlays and of the components together, each rendered once.

Tests that take `rendered` look at every overlay, every component, every pair, and all that go together; a test that
takes `render_together` can look at any combinations, many at once.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from munjang.engine.contract import VersionState, VersionStatus
from munjang.kinds import ModelKind
from munjang.metrics import new_registry
from munjang.testing import FakeEncoder
from munjang_server.embedding_cache import CacheMetrics, VectorCache
from munjang_server.metrics import (
    REASONS,
    EngineMetrics,
    RequestMetrics,
    SchedulerMetrics,
    VersionInfo,
    show_load,
    show_registry,
    show_versions,
)
from munjang_worker.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
K8S = ROOT / "deploy" / "k8s"
KUBECTL = Path(sys.executable).parent / "kubectl"

OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
EXCLUSIVE = [{"keda", "hpa"}, {"tls", "gateway"}]
"""Components that say of themselves that they do not go together."""

OF_PROMETHEUS = {"job", "namespace", "instance", "pod", "le"}
STATUSES = "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED INTERNAL UNAVAILABLE DATA_LOSS RESOURCE_EXHAUSTED"
VALUES = {
    "code": set(STATUSES.split()),
    "state": {*VersionState, "waiting", "running"},
    "lane": {"interactive", "bulk"},
    "outcome": {"failed", "ok", "done", "interrupted", "encoded"},
    "reason": set(REASONS),
    "namespace": {"munjang"},
}
"""The values that a query may match a label with."""


def supported(names):
    return not any(pair <= set(names) for pair in EXCLUSIVE)


def combinations():
    """Each component alone, each supported pair, and all that go together, in both orders."""
    some = [names for count in (1, 2) for names in itertools.combinations(COMPONENTS, count) if supported(names)]
    for dropped in itertools.product(*map(sorted, EXCLUSIVE)):
        rest = tuple(name for name in COMPONENTS if name not in dropped)
        some += [rest, rest[::-1]]
    return ["+".join(names) for names in some]


NAMES = [*OVERLAYS, *combinations()]


def pytest_generate_tests(metafunc):
    if "rendered" in metafunc.fixturenames:
        metafunc.parametrize("rendered", NAMES, indirect=True)


@dataclass
class Rendered:
    """The objects of one rendering."""

    name: str
    objects: list[dict]

    def of(self, *kinds):
        return [each for each in self.objects if each["kind"] in kinds]

    def named(self, kind, name):
        return next(each for each in self.of(kind) if each["metadata"]["name"] == name)

    def workloads(self):
        return self.of("Deployment", "StatefulSet", "Job", "CronJob")

    def programs(self):
        return [each for each in self.workloads() if "valkey" not in each["metadata"]["name"]]


def template(workload):
    """The pod template of a Deployment, StatefulSet, Job or CronJob."""
    spec = workload["spec"]
    return spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]


@pytest.fixture(scope="session")
def pod_of():
    """The pod template of a workload."""
    return template


@pytest.fixture(scope="session")
def render(tmp_path_factory, made_once):
    """Render an overlay, or base and components joined by +; once for each name."""
    folder = tmp_path_factory.mktemp("kustomize")

    def write(name, file):
        place = K8S / "overlays" / name if name in OVERLAYS else combined(folder / name, name.split("+"))
        file.write_text(json.dumps(kustomize(place)), encoding="utf-8")

    @functools.cache
    def render(name):
        file = made_once(f"rendered-{name}", functools.partial(write, name))
        return Rendered(name, json.loads(file.read_text("utf-8")))

    return render


@pytest.fixture
def rendered(request, render):
    """One rendering; a test that takes it runs for each."""
    return render(request.param)


@pytest.fixture(scope="session")
def every_combination():
    """All choices of components that go together, the empty one too."""
    counts = range(len(COMPONENTS) + 1)
    return [names for count in counts for names in itertools.combinations(COMPONENTS, count) if supported(names)]


@pytest.fixture
def render_together(tmp_path):
    """Render many combinations by one start of kubectl, which costs more than they do: the objects of each.

    Each has a namespace of its own; in the objects it is named as one alone would be.
    """

    def render_together(chosen):
        places = [combined(tmp_path / f"c{number}", names, f"c{number}") for number, names in enumerate(chosen)]
        everything = kustomization(tmp_path / "all", resources=[f"../{place.name}" for place in places])
        found = {place.name: [] for place in places}
        for each in kustomize(everything):
            metadata = each["metadata"]
            key = "name" if each["kind"] == "Namespace" else "namespace"
            found[metadata[key]].append(each)
            metadata[key] = "munjang"
        return list(found.values())

    return render_together


def kustomize(place):
    """The objects that kubectl makes of a kustomization."""
    command = [KUBECTL, "kustomize", "--load-restrictor", "LoadRestrictionsNone", place]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, f"kustomize warns: {result.stderr}"
    return list(yaml.load_all(result.stdout, yaml.CSafeLoader))


def combined(place, names, namespace="munjang"):
    """The base with components, as a kustomization."""
    parts = [os.path.relpath(K8S / "components" / name, place) for name in names]
    base = os.path.relpath(K8S / "base", place)
    return kustomization(place, namespace=namespace, resources=[base], components=parts)


def kustomization(place, **fields):
    place.mkdir()
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (place / "kustomization.yaml").write_text(yaml.safe_dump(head | fields), encoding="utf-8")
    return place


class Idle:
    """An engine and a batcher that nobody asks."""

    encoder = FakeEncoder()


class Serving:
    """An engine with one version."""

    def versions(self):
        manifest = SimpleNamespace(space_id="a" * 32, kind=ModelKind.DENSE)
        return [VersionStatus(1, VersionState.AVAILABLE, manifest=manifest)]


@pytest.fixture(scope="session")
def series():
    """The labels of every series of server and worker, by its name."""
    server, read, worker = new_registry("server"), CollectorRegistry(), Metrics()
    RequestMetrics(server, {"grpc": ["Encode"]})
    EngineMetrics(server, print)
    CacheMetrics(server, VectorCache(0))
    SchedulerMetrics(server)
    show_load(server, Idle())
    show_versions(server, Idle())
    show_registry(read, lambda: None, {"registry": ROOT})
    read.register(VersionInfo(Serving()))
    worker.watch_queue(lambda: (3, 1))
    worker.watch_disks({"output": ROOT})
    found = {}
    for registry in (server, worker.registry):
        for name, collector in registry._names_to_collectors.items():
            found[name] = set(getattr(collector, "_labelnames", ()))
    for registry in (read, worker.registry):  # collectors whose labels only show when they are read
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


def check(expression, series, recorded):
    """Assert that a query's metrics, labels and values exist."""
    found = selectors(expression)
    assert found
    known = set(OF_PROMETHEUS)
    for name, labels in found:
        assert name in series or name in recorded, name
        known |= series.get(name, set())
        for label, value in labels:
            assert label in series[name] | OF_PROMETHEUS, f"{name} has no label {label}"
            assert set(value.split("|")) <= VALUES[label], value
    grouped = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression)
    assert {label.strip() for group in grouped for label in group.split(",")} <= known


@pytest.fixture(scope="session")
def check_query(series):
    """Assert that a query is PromQL, and its metrics, labels and values exist; `recorded` are names of rules."""

    def check_query(expression, recorded=frozenset()):
        check(expression, series, recorded)

    return check_query
