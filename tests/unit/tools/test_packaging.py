"""What pyproject.toml, constraints.txt, the stubs and the Makefile say of versions and commands fits together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.constraints import pins, torch

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    if not line.startswith("munjang")
]
CONSTRAINTS = [
    line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
]
PINNED = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in CONSTRAINTS)}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("line", CONSTRAINTS)
def test_a_pin_is_one_plain_version_that_any_machine_has(line: str) -> None:
    assert re.fullmatch(r"[\w.-]+==\d[\w.]*", line)
    assert not line.lower().startswith(("nvidia", "cuda", "triton", "munjang"))


def test_the_first_step_of_the_setup_installs_the_torch_that_the_project_needs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "TORCH := $(shell sed -n '/^torch==/p' constraints.txt)" in makefile
    assert [line for line in CONSTRAINTS if line.startswith("torch==")] == [f"torch=={PINNED['torch']}"]
    assert Requirement(torch()).specifier.contains(PINNED["torch"])


def test_pins_leave_out_local_tags_and_what_one_build_of_torch_needs() -> None:
    frozen = "torch==2.13.0+cpu\nnvidia-cublas==13.0\ntriton==3.9\n-e .\nmunjang @ file:///x\n# a remark\nrich==15.0\n"
    assert pins(frozen) == "torch==2.13.0\nrich==15.0\n"


@pytest.mark.parametrize(
    ("package", "pattern", "stub"),
    [
        ("protobuf", r"Protobuf Python Version: ([\d.]+)", "resources_pb2.py"),
        ("grpcio", r"GRPC_GENERATED_VERSION = '([\d.]+)'", "embedding_service_pb2_grpc.py"),
    ],
)
def test_the_base_install_asks_for_a_runtime_that_the_stubs_accept(package: str, pattern: str, stub: str) -> None:
    found = re.search(pattern, (ROOT / "munjang" / "v1" / stub).read_text(encoding="utf-8"))
    assert found
    lowest = next(requirement for requirement in REQUIREMENTS if requirement.name == package)
    assert lowest.specifier.contains(found[1])


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_make_command_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
