"""Processes with the arguments and variables of the compose file and of the manifests, on this machine's loopback."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from munjang.cli.stack import valkey
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
WAIT = 120
PASSWORD = "queue-of-the-test"


@dataclass(frozen=True)
class Described:
    """A container as a file describes it."""

    arguments: list[str]
    environment: dict[str, str]
    command: list[str] = field(default_factory=list)


def from_compose():
    """The services of the compose file, with what their images set."""
    services = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text("utf-8"))["services"]
    plain = functools.partial(re.sub, r"\$\{\w+:-(.*)\}", r"\1")
    return {
        name: Described(
            services[name].get("command", []),
            {key: plain(value) for key, value in services[name].get("environment", {}).items()},
        )
        for name in ("valkey", "first-model", "server", "worker")
    }


def from_kubernetes():
    """The containers of the plainest overlay; a Secret's values are the test's own."""
    command = [BIN / "kubectl", "kustomize", ROOT / "deploy/k8s/overlays/cpu"]
    objects = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    secrets = {"url": f"redis://:{PASSWORD}@munjang-valkey:6379/0", "password": PASSWORD}
    found = {}
    for each in objects:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            (container,) = each["spec"]["template"]["spec"]["containers"]
            environment = {}
            for source in container.get("envFrom", []):
                environment |= maps[source["configMapRef"]["name"]]
            for entry in container.get("env", []):
                reference = entry.get("valueFrom", {})
                secret = reference.get("secretKeyRef", {}).get("key")
                environment[entry["name"]] = secrets[secret] if secret else entry.get("value", "1")
            name = "first-model" if each["kind"] == "Job" else container["name"]
            found[name] = Described(container.get("args", []), environment, container.get("command", []))
    return found


@dataclass
class Stack:
    """What was started: the processes by name, and where they are."""

    folder: Path
    described: dict[str, Described]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def here(self, text):
        """A value of the file with this machine's places instead of the containers'."""
        text = text.replace("/var/lib/munjang", str(self.folder))
        text = re.sub(r"^/(inbox|outbox)\b", str(self.folder / "data"), text)
        return re.sub(r"@?(?:munjang-)?valkey:6379", lambda match: self._address(match[0]), text)

    def _address(self, matched):
        return f"{'@' if matched[0] == '@' else ''}127.0.0.1:{self.ports['valkey']}"

    def environment(self, name):
        """The variables of a program: those of the file, its ports free ones."""
        own = {key: self.here(value) for key, value in self.described[name].environment.items()}
        for key in [key for key in own if key.endswith("PORT")]:
            own[key] = str(self.ports.setdefault(key, free_port()))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MUNJANG_") or "CI" in key}
        return kept | {"HF_HUB_OFFLINE": "1", "MUNJANG_HOME": str(self.folder)} | own

    def start_valkey(self):
        """Valkey with the arguments of the file, on a port of the loopback."""
        (self.folder / "valkey").mkdir()
        self.ports["valkey"] = free_port()
        first, *arguments = map(self.here, self.described["valkey"].arguments)
        assert first == "valkey-server"
        arguments[arguments.index("/data")] = str(self.folder / "valkey")
        binary = [*self.described["valkey"].command, str(valkey.find_binary())]
        self._run("valkey", [*binary, *arguments, "--bind", "127.0.0.1", "--port", str(self.ports["valkey"])])

    def start(self, name, **more):
        """The program as its image runs it, with more variables than the file gives."""
        program = "munjang_trainer" if name == "first-model" else f"munjang_{name}"
        self._run(name, [sys.executable, "-m", program, *self.described[name].arguments], more)

    def _run(self, name, command, more=None):
        environment = self.environment(name) | (more or {})
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )

    def log(self, name):
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")


@pytest.fixture(params=[from_compose, from_kubernetes], ids=["compose", "kubernetes"])
def stack(request, tmp_path):
    """Valkey, first model, server and worker of a file, not started yet; all are ended after the test."""
    made = Stack(tmp_path, request.param())
    yield made
    for process in made.processes.values():
        if process.poll() is None:
            process.kill()
        process.wait(30)
