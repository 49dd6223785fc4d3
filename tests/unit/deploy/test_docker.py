"""Dockerfile and compose file: linted, no root, nothing unpinned, and every variable one that the programs take."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from munjang import __version__
from munjang.cli.main import app
from munjang.settings import ClientSettings, ServerSettings, TrainerSettings, WorkerSettings

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE = yaml.safe_load((DOCKERFILE.parent / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {"server": ServerSettings, "worker": WorkerSettings, "first-model": TrainerSettings}
TARGETS = {"server": ServerSettings, "worker": WorkerSettings, "trainer": TrainerSettings}


def stages():
    """The instructions of every stage, by its name, each with its base."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    found = {}
    for line in lines:
        if start := re.match(r"FROM (\S+) AS (\S+)", line):
            found[start[2]] = {"base": start[1], "lines": []}
        elif line.strip() and found:
            found[list(found)[-1]]["lines"].append(" ".join(line.split()))
    return found


STAGES = stages()


def inherited(name):
    """The lines of a stage with those of the stages that it is built on, the oldest first."""
    stage = STAGES[name]
    return (inherited(stage["base"]) if stage["base"] in STAGES else []) + stage["lines"]


def variables(name):
    """What ENV sets in a stage."""
    words = [word for line in inherited(name) if line.startswith("ENV ") for word in line.split()[1:]]
    return dict(word.split("=", 1) for word in words)


def test_the_dockerfile_is_clean_by_hadolint():
    linter = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([linter, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_base_can_be_pinned_by_digest():
    assert "\nARG PYTHON_DIGEST=" in DOCKERFILE.read_text(encoding="utf-8")
    assert STAGES["base"]["base"] == "${PYTHON_IMAGE}${PYTHON_DIGEST:+@${PYTHON_DIGEST}}"


def test_packages_come_from_wherever_the_builder_says():
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert set(re.findall(r"://([^:/]+)", text)) == {"127.0.0.1"}
    for flavour in ("CPU", "CUDA"):
        assert f'ARG TORCH_{flavour}_OPTIONS=""' in text
        (run,) = [line for line in STAGES[f"torch-{flavour.lower()}"]["lines"] if line.startswith("RUN ")]
        assert f"${{TORCH_{flavour}_OPTIONS}}" in run


def test_every_argument_of_the_build_is_explained_and_those_of_compose_exist():
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE))
    readme = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in arguments)
    for name in OURS:
        given = SERVICES[name]["build"]["args"]
        assert set(given) <= arguments
        assert all(value.startswith(f"${{{argument}:-") for argument, value in given.items())


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_its_program_without_root_and_without_tools_to_build(target):
    lines = inherited(target)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 10001:10001"
    assert lines[-1] in {f'ENTRYPOINT ["python", "-m", "munjang_{target}"]', 'CMD ["--help"]'}
    assert f'ENTRYPOINT ["python", "-m", "munjang_{target}"]' in lines
    assert not any("apt-get" in line or "pip install" in line or "ARG EXTRA" in line for line in lines)
    assert any("pip uninstall --yes pip setuptools wheel" in line for line in lines)
    assert f"COPY --from={target}-environment /opt/munjang /opt/munjang" in lines


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_installs_the_extra_of_its_program_and_no_other(target):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (run,) = [line for line in STAGES[f"{target}-environment"]["lines"] if line.startswith("RUN ")]
    named = set(re.findall(r"\[([\w,]+)\]", run))
    assert named == {target}
    assert named <= set(extras)
    assert "--constraint constraints.txt" in run
    assert STAGES[f"{target}-environment"]["base"] == "torch-${FLAVOUR}"
    assert {"torch-cpu", "torch-cuda"} <= set(STAGES)


@pytest.mark.parametrize(("target", "kind"), TARGETS.items())
def test_the_variables_of_an_image_are_settings_of_its_program(target, kind, monkeypatch):
    known = {f"MUNJANG_{name.upper()}" for name in kind.model_fields}
    own = {name: value for name, value in variables(target).items() if name.startswith("MUNJANG_")}
    assert own
    assert set(own) <= known
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    kind()


def test_an_image_exposes_the_ports_that_it_listens_on():
    for target, names in {
        "server": ("MUNJANG_PORT", "MUNJANG_HTTP_PORT", "MUNJANG_METRICS_PORT"),
        "worker": ("MUNJANG_WORKER_METRICS_PORT",),
    }.items():
        exposed = [line.split()[1:] for line in STAGES[target]["lines"] if line.startswith("EXPOSE ")]
        assert exposed == [[variables(target)[name] for name in names]]


def test_the_health_check_of_the_server_is_a_command_that_exists():
    (line,) = [line for line in STAGES["server"]["lines"] if line.startswith("HEALTHCHECK ")]
    command = yaml.safe_load(line.split(" CMD ")[1])
    assert command[0] == "munjang"
    assert CliRunner().invoke(app, [*command[1:], "--help"]).exit_code == 0
    assert f"127.0.0.1:{variables('server')['MUNJANG_PORT']}" == ClientSettings.model_fields["target"].default


def test_the_build_sees_what_it_copies_and_nothing_else():
    kept = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = {
        word
        for stage in STAGES.values()
        for line in stage["lines"]
        if re.match(r"COPY (?!--from)", line)
        for word in line.split()[1:-1]
    }
    assert copied == set(kept)
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_and_an_image_with_a_tag_that_stays(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    image = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", service["image"])
    assert re.search(r":v?\d+\.\d+", image)


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_built_by_a_target_and_names_settings_that_it_has(name, monkeypatch):
    service, kind = SERVICES[name], OURS[name]
    assert service["build"]["target"] in TARGETS
    assert service["image"] == f"munjang-{service['build']['target']}:{__version__}"
    assert (DOCKERFILE.parent / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]) == DOCKERFILE
    environment = {key: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value) for key, value in service["environment"].items()}
    assert set(environment) <= {f"MUNJANG_{field.upper()}" for field in kind.model_fields}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert kind().registry == "/var/lib/munjang/registry"


def test_every_service_that_serves_has_a_health_check_or_an_image_with_one():
    for name, service in SERVICES.items():
        target = service.get("build", {}).get("target")
        checked = "healthcheck" in service or any(
            line.startswith("HEALTHCHECK ") for line in inherited(target or "base")
        )
        assert checked or name in {"prometheus", "grafana"}  # nothing waits for these


def test_the_grace_of_the_server_covers_its_drain():
    service = SERVICES["server"]
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace >= float(service["environment"]["MUNJANG_DRAIN_SECONDS"]) + 10


def test_nothing_is_reachable_from_other_machines():
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_volume_is_declared_and_every_file_that_is_mounted_exists():
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = re.sub(r"^\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0]
            assert (DOCKERFILE.parent / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_prometheus_scrapes_the_services_at_the_ports_of_their_metrics():
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    found = {
        name: (each["job_name"], discovery["port"])
        for each in config["scrape_configs"]
        for discovery in each["dns_sd_configs"]
        for name in discovery["names"]
    }
    server, worker = SERVICES["server"]["environment"], SERVICES["worker"]["environment"]
    assert found == {
        "server": ("munjang-server", int(server["MUNJANG_METRICS_PORT"])),
        "worker": ("munjang-worker", int(worker["MUNJANG_WORKER_METRICS_PORT"])),
    }
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]}
    assert set(config["rule_files"]) <= mounted


def test_grafana_finds_the_dashboard_and_its_prometheus():
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards" / "munjang.yaml").read_text("utf-8"))["providers"]
    mounted = [mount.split(":")[1] for mount in SERVICES["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/munjang.json" in mounted


def test_the_valkeys_of_compose_and_kubernetes_keep_the_same_promises(render):
    from_compose = SERVICES["valkey"]["command"]
    (container,) = render("cpu").named("StatefulSet", "munjang-valkey")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == from_compose
    assert SERVICES["valkey"]["image"].endswith(container["image"] + "}")
    assert from_compose[from_compose.index("--appendonly") + 1] == "yes"


def test_the_manifests_run_the_release_of_this_tree(render):
    images = {
        container["image"]
        for each in render("cpu").programs()
        for container in each["spec"].get(
            "template", each["spec"].get("jobTemplate", {}).get("spec", {}).get("template")
        )["spec"]["containers"]
    }
    assert images == {f"munjang-{target}:{__version__}" for target in TARGETS}
