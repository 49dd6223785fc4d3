"""Requests and limits of the manifests fit what was measured: docs/bench/memory.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from munjang.settings import EngineSettings

ROOT = Path(__file__).resolve().parents[3]
MEASURED = json.loads((ROOT / "docs" / "bench" / "memory.json").read_text(encoding="utf-8"))
SPARE = 1.25
"""How much more than the most that was seen a limit allows."""

TAKES = {
    "munjang-server": (MEASURED["server"]["rest_with_previous"], MEASURED["server"]["swap_peak"]),
    "munjang-worker": (MEASURED["worker"]["rest_with_model"], MEASURED["worker"]["job_peak"]),
    "munjang-first-model": (0, MEASURED["trainer"]["first_model_peak"]),
}
"""What each rests with in the end, and took at most."""

UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def quantity(text):
    return float(text[:-2]) * UNITS[text[-2:]]


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "prod"])
@pytest.mark.parametrize("name", TAKES)
def test_a_program_requests_what_it_rests_with_and_may_take_more_than_it_ever_did(render, pod_of, overlay, name):
    (workload,) = [each for each in render(overlay).workloads() if each["metadata"]["name"] == name]
    resources = pod_of(workload)["spec"]["containers"][0]["resources"]
    rest, peak = TAKES[name]
    assert quantity(resources["requests"]["memory"]) >= rest
    assert quantity(resources["limits"]["memory"]) >= SPARE * peak


@pytest.mark.parametrize("name", ["munjang-server", "munjang-worker"])
def test_a_cache_has_room_for_all_that_it_keeps_and_one_more(render, pod_of, name):
    spec = pod_of(render("cpu").named("Deployment", name))["spec"]
    (cache,) = [each["emptyDir"]["sizeLimit"] for each in spec["volumes"] if each["name"] == "cache"]
    kept = EngineSettings.model_fields["cache_versions"].default + 1
    one = MEASURED["model"]["export_on_disk"] + MEASURED["model"]["version_on_disk"]
    assert quantity(cache) >= SPARE * kept * one


def test_the_first_loads_take_less_than_what_is_allowed_during_a_swap():
    server = MEASURED["server"]
    assert max(server["rest"], server["rest_after_first_start"]) <= server["first_start_peak"] < server["swap_peak"]
