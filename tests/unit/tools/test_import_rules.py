"""The import rules cover every module of the core, and catch what they forbid."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRANSPORTS = {"v1", "client", "cli"}
PACKAGES = ("munjang", "server/munjang_server", "worker/munjang_worker", "trainer/munjang_trainer")


def contract(name: str) -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return next(found for found in contracts if found["name"] == name)


def test_every_module_of_the_core_is_held_to_know_no_transport() -> None:
    modules = {
        path.stem
        for path in (ROOT / "munjang").iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    covered = {name.removeprefix("munjang.") for name in contract("the core knows no transport")["source_modules"]}
    assert covered == modules - TRANSPORTS - {"__init__"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and their rules."""
    copy = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-logo", "--no-cache"],
        cwd=house,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_rules_hold(house: Path) -> None:
    result = lint(house)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("munjang/encoder/intruder.py", "import grpc"),
        ("munjang/engine/intruder.py", "from munjang.v1 import resources_pb2"),
        ("munjang/registry/intruder.py", "from redis import Redis"),
        ("munjang/bulk/intruder.py", "import rq"),
        ("munjang/registry/intruder.py", "import munjang_server"),
        ("munjang/cli/intruder.py", "from munjang_worker import jobs"),
        ("munjang/client/intruder.py", "import torch"),
        ("munjang_server/intruder.py", "import munjang_worker"),
        ("munjang_worker/intruder.py", "from munjang_trainer import starter"),
        ("munjang_trainer/intruder.py", "def late():\n    import munjang_server"),
    ],
)
def test_an_import_that_the_rules_forbid_is_caught(house: Path, module: str, statement: str) -> None:
    intruder = house / module
    intruder.write_text(statement + "\n", encoding="utf-8")
    try:
        result = lint(house)
    finally:
        intruder.unlink()
    assert result.returncode != 0
    assert module.removesuffix(".py").replace("/", ".") in result.stdout


LATER = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("modules", "circle"),
    [
        (
            {"munjang/bulk/one.py": "import munjang.bulk.two", "munjang/bulk/two.py": "import munjang.bulk.one"},
            "No cycles are allowed in munjang.bulk.",
        ),
        (
            {
                "munjang/registry/one.py": "from munjang.registry.two import x",
                "munjang/registry/two.py": f"{LATER}from munjang.registry.three import x",
                "munjang/registry/three.py": "def late():\n    from munjang.registry import one",
            },
            "No cycles are allowed in munjang.registry.",
        ),
        (
            {
                "munjang_trainer/starter/one.py": f"{LATER}from munjang_trainer.starter.two import x",
                "munjang_trainer/starter/two.py": "from munjang_trainer.starter.one import x",
            },
            "No cycles are allowed in munjang_trainer.starter.",
        ),
        (
            {
                "munjang/bulk/one.py": f"{LATER}from munjang.engine.one import x",
                "munjang/engine/one.py": "import munjang.bulk.job",
            },
            "No cycles are allowed in munjang.",
        ),
    ],
    ids=["of two modules", "of three, by way of types and of a late import", "in a package", "of two packages"],
)
def test_imports_that_go_in_a_circle_are_caught(house: Path, modules: dict[str, str], circle: str) -> None:
    before = lint(house).stdout
    assert f"{circle}\n" not in before
    for module, text in modules.items():
        (house / module).write_text(text + "\n", encoding="utf-8")
    try:
        result = lint(house)
    finally:
        for module in modules:
            (house / module).unlink()
    assert result.returncode != 0
    assert f"{circle}\n" in result.stdout
