"""What every pod has: limits, probes, a grace that covers its end, and no more rights than it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from munjang_worker.connection import LAST_TRIES

STARTED = json.loads((Path(__file__).resolve().parents[3] / "docs" / "bench" / "speed.json").read_text("utf-8"))[
    "startup"
]
SERVING = ("Deployment", "StatefulSet")


def containers(rendered, pod_of):
    return [
        (each, container)
        for each in rendered.workloads()
        for container in pod_of(each)["spec"].get("initContainers", []) + pod_of(each)["spec"]["containers"]
    ]


def test_every_container_has_requests_and_limits(rendered, pod_of):
    for each, container in containers(rendered, pod_of):
        for what in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][what]), each["metadata"]["name"]


def test_every_container_is_restricted_and_its_root_read_only(rendered, pod_of):
    for each, container in containers(rendered, pod_of):
        pod, own = pod_of(each)["spec"]["securityContext"], container["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_read_only_root_comes_with_places_to_write(rendered, pod_of):
    for each in rendered.programs():
        spec = pod_of(each)["spec"]
        mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"] if not mount.get("readOnly")}
        assert {"/tmp", "/var/lib/munjang/cache"} <= mounts  # noqa: S108 - the pod's own


def test_volumes_and_their_mounts_fit_together(rendered, pod_of):
    claims = {each["metadata"]["name"] for each in rendered.of("PersistentVolumeClaim")}
    for each in rendered.workloads():
        spec = pod_of(each)["spec"]
        templates = {one["metadata"]["name"] for one in each["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | templates
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes
        used = {
            one["persistentVolumeClaim"]["claimName"]
            for one in spec.get("volumes", [])
            if "persistentVolumeClaim" in one
        }
        assert used <= claims


def test_no_token_is_mounted_and_no_service_variables_are_mistaken_for_settings(rendered, pod_of):
    accounts = {each["metadata"]["name"]: each for each in rendered.of("ServiceAccount")}
    for each in rendered.workloads():
        spec = pod_of(each)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False


def test_every_image_has_a_tag_that_stays(rendered, pod_of):
    for _, container in containers(rendered, pod_of):
        name, _, tag = container["image"].rpartition(":")
        assert name
        assert tag[0].isdigit()


def test_what_serves_has_all_three_probes_and_the_liveness_is_the_most_patient(rendered, pod_of):
    for each in rendered.of(*SERVING):
        (container,) = pod_of(each)["spec"]["containers"]
        patience = {
            kind: container[f"{kind}Probe"]["periodSeconds"] * container[f"{kind}Probe"]["failureThreshold"]
            for kind in ("startup", "readiness", "liveness")
        }
        assert patience["liveness"] > patience["readiness"]
        assert patience["startup"] >= 60


def test_what_serves_rolls_without_a_gap_and_is_evicted_one_by_one(rendered, pod_of):
    budgets = rendered.of("PodDisruptionBudget")
    for each in rendered.of("Deployment"):
        assert each["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert pod_of(each)["spec"]["topologySpreadConstraints"]
    for each in rendered.of(*SERVING):
        labels = pod_of(each)["metadata"]["labels"]
        fitting = [one for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= labels.items()]
        assert [one["spec"]["maxUnavailable"] for one in fitting] == [1]
    assert len(budgets) == len(rendered.of(*SERVING))


def test_the_grace_covers_what_comes_before_the_drain_and_the_drain(rendered, pod_of):
    spec = pod_of(rendered.named("Deployment", "munjang-server"))["spec"]
    (container,) = spec["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    needed = container["lifecycle"]["preStop"]["sleep"]["seconds"] + float(environment["MUNJANG_DRAIN_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= needed + 10


def test_a_worker_and_a_queue_have_time_to_end_in_order(rendered, pod_of):
    graces = {
        each["metadata"]["name"]: pod_of(each)["spec"]["terminationGracePeriodSeconds"] for each in rendered.workloads()
    }
    first_load = STARTED["first_start_seconds"]["median"]  # a worker ends once the model that it loads is loaded
    assert graces["munjang-worker"] >= LAST_TRIES + 10 * first_load
    assert graces["munjang-trainer"] >= 60
    assert graces.get("munjang-valkey", 60) >= 30


def test_probes_wait_for_what_starts(rendered, pod_of):
    (container,) = pod_of(rendered.named("Deployment", "munjang-server"))["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 5 * STARTED["first_start_seconds"]["median"]


def test_no_two_pods_of_one_program_are_put_together_where_there_is_room_elsewhere(rendered, pod_of):
    for each in rendered.of("Deployment"):
        labels = pod_of(each)["metadata"]["labels"]
        spread = pod_of(each)["spec"]["topologySpreadConstraints"]
        assert "kubernetes.io/hostname" in {one["topologyKey"] for one in spread}
        for one in spread:
            assert one["labelSelector"]["matchLabels"].items() <= labels.items()
            assert one["whenUnsatisfiable"] == "ScheduleAnyway"  # a full cluster still rolls


def test_selectors_are_the_labels_of_their_own_pods_alone(rendered, pod_of):
    pods = {each["metadata"]["name"]: pod_of(each)["metadata"]["labels"] for each in rendered.workloads()}
    for each in rendered.of(*SERVING):
        selector = each["spec"]["selector"]["matchLabels"].items()
        assert [name for name, labels in pods.items() if selector <= labels.items()] == [each["metadata"]["name"]]


@pytest.mark.parametrize("name", ["prod", "gpu"])
def test_an_autoscaled_or_gpu_overlay_says_what_it_claims(render, pod_of, name):
    server = render(name).named("Deployment", "munjang-server")
    (container,) = pod_of(server)["spec"]["containers"]
    if name == "prod":
        assert "replicas" not in server["spec"]
        assert {"MUNJANG_TOKENS_FILE", "MUNJANG_TLS_CERT"} <= {each["name"] for each in container["env"]}
    else:
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert container["image"].endswith("-cuda")
