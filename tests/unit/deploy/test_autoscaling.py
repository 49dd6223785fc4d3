"""Autoscaling that is right for RQ: what waits and what runs counts, and no scale-in ends a running shard."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import Queue

from munjang.bulk import QUEUE
from munjang.settings import ServerSettings

SCALED = ["keda", "prod", "keda+monitoring"]


@pytest.fixture(params=SCALED)
def worker(request, render):
    """The worker's ScaledObject."""
    return render(request.param).named("ScaledObject", "munjang-worker")["spec"]


def test_the_keys_that_keda_counts_are_those_of_the_workers_queue(worker):
    queue = Queue(QUEUE, connection=Redis())
    keys = {trigger["name"]: trigger["metadata"]["listName"] for trigger in worker["triggers"]}
    assert keys == {
        "waiting": queue.key,
        "running": queue.started_job_registry.key,
        "later": queue.scheduled_job_registry.key,
    }


def test_what_waits_runs_or_is_due_later_counts_together(worker):
    names = [trigger["name"] for trigger in worker["triggers"]]
    modifiers = worker["advanced"]["scalingModifiers"]
    assert sorted(modifiers["formula"].split(" + ")) == sorted(names)
    assert modifiers["activationTarget"] == "0"


def test_workers_go_only_when_nothing_is_left_to_do(worker):
    assert worker["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"] == {"selectPolicy": "Disabled"}
    assert worker["minReplicaCount"] == 0
    assert worker["cooldownPeriod"] >= 300


def test_servers_follow_tokens_in_flight_and_not_the_processor(render):
    (trigger,) = render("keda").named("ScaledObject", "munjang-server")["spec"]["triggers"]
    assert trigger["type"] == "prometheus"
    assert "queued_tokens" in trigger["metadata"]["query"]
    assert "running_tokens" in trigger["metadata"]["query"]
    hpa = render("hpa").named("HorizontalPodAutoscaler", "munjang-server")["spec"]
    assert [metric["type"] for metric in hpa["metrics"]] == ["Pods"]


def test_a_server_of_the_default_batch_is_the_unit_of_scaling(render):
    (trigger,) = render("keda").named("ScaledObject", "munjang-server")["spec"]["triggers"]
    (metric,) = render("hpa").named("HorizontalPodAutoscaler", "munjang-server")["spec"]["metrics"]
    wanted = str(ServerSettings.model_fields["batch_tokens"].default)
    assert trigger["metadata"]["threshold"] == metric["pods"]["target"]["averageValue"] == wanted


def test_an_autoscaled_deployment_says_no_replicas_so_that_applying_it_resets_none(rendered):
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in rendered.of("ScaledObject", "HorizontalPodAutoscaler")}
    for each in rendered.of("Deployment"):
        assert ("replicas" in each["spec"]) == (each["metadata"]["name"] not in scaled)


def test_nothing_is_scaled_twice(rendered):
    targets = [
        each["spec"]["scaleTargetRef"]["name"] for each in rendered.of("ScaledObject", "HorizontalPodAutoscaler")
    ]
    assert len(set(targets)) == len(targets)
