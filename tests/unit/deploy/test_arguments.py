"""Every argument and variable in a manifest is one that its program takes, with a value that it takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from munjang.settings import ClientSettings, ServerSettings, TrainerSettings, WorkerSettings
from munjang_server.http.operations import LIVE_PATH, READY_PATH
from munjang_server.main import _parser
from munjang_trainer.cli import app as trainer_app

ROOT = Path(__file__).resolve().parents[3]
READ_BY = {
    "server": (ServerSettings, ClientSettings),  # the client's are for the health command inside the container
    "worker": (WorkerSettings,),
    "trainer": (TrainerSettings,),
}
OF_OTHERS = {"JOB_NAME", "REDISCLI_AUTH"}
SECRETS = {
    "munjang-redis": {"url", "password", "address"},
    "munjang-tls": set(),
    "munjang-tokens": set(),
    "munjang-s3": set(),
}
"""The Secrets that the manifests' comments ask for, and their keys; those without any are mounted or optional."""


def value_of(entry):
    """A variable's value, or one that what it refers to may have."""
    if "value" in entry:
        return entry["value"].replace("$(JOB_NAME)", "munjang-trainer-29")
    reference = entry["valueFrom"]
    if "resourceFieldRef" in reference:
        return "2"
    if "secretKeyRef" in reference:
        return "redis://:비밀@munjang-valkey:6379/0"
    return "munjang-trainer-29"


def environment(rendered, container):
    """All variables of a container, those of its ConfigMaps too."""
    maps = {each["metadata"]["name"]: each["data"] for each in rendered.of("ConfigMap")}
    found = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= maps[source["configMapRef"]["name"]]
    return found | {entry["name"]: value_of(entry) for entry in container.get("env", [])}


def programs(rendered, pod_of):
    """The containers of our own programs, by the program's name."""
    for each in rendered.programs():
        (container,) = pod_of(each)["spec"]["containers"]
        yield container["name"], container


def test_every_variable_is_a_setting_of_its_program_with_a_value_that_it_takes(rendered, pod_of, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MUNJANG_")]:
        monkeypatch.delenv(name)
    seen = 0
    for program, container in programs(rendered, pod_of):
        variables = environment(rendered, container)
        known = {f"MUNJANG_{field.upper()}" for kind in READ_BY[program] for field in kind.model_fields}
        assert set(variables) - known <= OF_OTHERS
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            for kind in READ_BY[program]:
                settings = kind()
                for field in kind.model_fields:
                    if (name := f"MUNJANG_{field.upper()}") in variables:
                        assert (
                            str(getattr(settings, field)).lower()
                            == str(type(getattr(settings, field))(variables[name])).lower()
                        )
                        seen += 1
    assert seen > 20


def test_every_argument_is_one_that_the_program_takes(rendered, pod_of):
    for program, container in programs(rendered, pod_of):
        arguments = container.get("args", [])
        assert "command" not in container
        if program == "trainer":
            assert arguments
            result = CliRunner().invoke(trainer_app, [*arguments, "--help"])
            assert result.exit_code == 0, result.output
            if arguments[0] == "run":
                assert (ROOT / "trainer" / "munjang_trainer" / "recipes" / f"{arguments[1]}.yaml").is_file()
        else:
            assert _parser().parse_args(arguments if program == "server" else [])
            assert arguments == []


def test_the_server_is_asked_over_http_what_the_probe_is_for_and_no_program_is_started(rendered, pod_of):
    for program, container in programs(rendered, pod_of):
        probes = {kind: container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness")}
        assert not any("exec" in probe for probe in probes.values())
        if program == "server":
            assert {kind: probe["httpGet"] for kind, probe in probes.items()} == {
                "startup": {"port": "metrics", "path": LIVE_PATH},
                "readiness": {"port": "metrics", "path": READY_PATH},
                "liveness": {"port": "metrics", "path": LIVE_PATH},
            }


def test_files_that_settings_name_are_in_a_volume(rendered, pod_of):
    for each in rendered.programs():
        (container,) = pod_of(each)["spec"]["containers"]
        places = tuple(mount["mountPath"] + "/" for mount in container["volumeMounts"])
        for name, value in environment(rendered, container).items():
            if name.startswith("MUNJANG_") and value.startswith("/"):
                assert f"{value}/".startswith(places), f"{name} = {value}"


def references(node):
    """Every reference to a Secret: its name, and the key if one is named."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"secretKeyRef", "secretRef"}:
                yield value["name"], value.get("key")
            elif key == "secretName":
                yield value, None
            elif key == "secretTargetRef":
                yield from ((each["name"], each["key"]) for each in value)
            else:
                yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_secrets_are_referred_to_and_written_only_in_dev(rendered):
    written = {each["metadata"]["name"]: set(each["data"]) for each in rendered.of("Secret")}
    assert not written or rendered.name == "dev"
    for name, key in references(rendered.objects):
        keys = written.get(name, SECRETS.get(name))
        assert keys is not None, name
        assert key is None or key in keys


@pytest.mark.parametrize(
    "name", ["base/config.env", "components/s3-registry/kustomization.yaml", "overlays/prod/kustomization.yaml"]
)
def test_the_comments_name_the_secrets(name):
    text = (ROOT / "deploy" / "k8s" / name).read_text(encoding="utf-8")
    assert "munjang-redis" in text or "munjang-s3" in text


def test_the_first_model_is_a_hook_of_argo_cd_that_waits_for_no_server_and_flux_may_replace_it(render):
    annotations = render("prod").named("Job", "munjang-first-model")["metadata"]["annotations"]
    assert annotations == {
        "argocd.argoproj.io/hook": "Sync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
        "kustomize.toolkit.fluxcd.io/force": "enabled",
    }


def test_no_secret_is_an_argument(rendered, pod_of):
    for workload in rendered.workloads():
        for container in pod_of(workload)["spec"]["containers"]:
            secret = {each["name"] for each in container.get("env", []) if "secretKeyRef" in each.get("valueFrom", {})}
            words = [*container.get("command", []), *container.get("args", [])]
            assert not any(f"$({name})" in word for name in secret for word in words)
