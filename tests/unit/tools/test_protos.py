"""The checks of the protos fail where they must, on a copy that was changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

BREAKING = {
    "a field takes another number": ("resources.proto", "uint32 count = 1;", "uint32 count = 9;"),
    "a field takes another type": ("resources.proto", "uint32 count = 1;", "string count = 1;"),
    "a field is renamed": ("embedding_service.proto", "repeated string texts = 1;", "repeated string sentences = 1;"),
    "a field becomes single": ("embedding_service.proto", "repeated string texts = 1;", "string texts = 1;"),
    "a value of an enum goes": ("error_reason.proto", "  ERROR_REASON_EMPTY_TEXT = 5;\n", ""),
    "a method starts to stream": (
        "model_service.proto",
        "returns (ListVersionsResponse)",
        "returns (stream ListVersionsResponse)",
    ),
    "a method goes": ("model_service.proto", "  rpc GetVersion(GetVersionRequest) returns (GetVersionResponse);\n", ""),
}

HARMLESS = {
    "a field is added": (
        "resources.proto",
        "uint32 count = 1;",
        "uint32 count = 1;\n  // extra of the future.\n  string extra = 99;",
    ),
    "a value of an enum is added": (
        "error_reason.proto",
        "ERROR_REASON_EMPTY_TEXT = 5;",
        "ERROR_REASON_EMPTY_TEXT = 5;\n  // ERROR_REASON_NEW: of the future.\n  ERROR_REASON_NEW = 99;",
    ),
    "a comment changes": ("resources.proto", "// count is the number of rows.", "// count of the rows."),
}

UNCOMMENTED = {
    "a service": ("model_service.proto", "service ModelService {"),
    "a method": ("model_service.proto", "rpc GetVersion("),
    "a message": ("model_service.proto", "message Alias {"),
    "a field": ("resources.proto", "uint32 count = 1;"),
    "an enum": ("resources.proto", "enum Precision {"),
    "a value of an enum": ("resources.proto", "PRECISION_INT8 = 4;"),
    "a oneof": ("embedding_service.proto", "oneof outcome {"),
}


def tool(command: str, protos: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.protos", command, "--protos", str(protos)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    """A copy of the protos, to change."""
    return Path(shutil.copytree(ROOT / "protos", tmp_path / "protos"))


def change(protos: Path, name: str, old: str, new: str) -> None:
    """Replace a piece that stands in the file once."""
    path = protos / "munjang" / "v1" / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name} has no single {old!r} any more"
    path.write_text(text.replace(old, new), encoding="utf-8")


def uncomment(protos: Path, name: str, declaration: str) -> None:
    """Remove the comment lines right above a declaration."""
    path = protos / "munjang" / "v1" / name
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    [at] = [number for number, line in enumerate(lines) if line.strip().startswith(declaration)]
    top = at
    while lines[top - 1].strip().startswith("//"):
        top -= 1
    assert top < at, f"{declaration!r} has no comment"
    path.write_text("".join(lines[:top] + lines[at:]), encoding="utf-8")


@pytest.mark.parametrize("check", ["lint", "breaking", "stubs"])
def test_the_protos_pass(check: str) -> None:
    result = tool(check, ROOT / "protos")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("case", BREAKING)
def test_a_change_that_breaks_clients_is_refused_where(case: str, protos: Path) -> None:
    name, old, new = BREAKING[case]
    change(protos, name, old, new)
    result = tool("breaking", protos)
    assert result.returncode != 0
    assert name in result.stdout


@pytest.mark.parametrize("case", HARMLESS)
def test_a_change_that_breaks_nobody_passes_where(case: str, protos: Path) -> None:
    change(protos, *HARMLESS[case])
    result = tool("breaking", protos)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("case", UNCOMMENTED)
def test_an_element_without_a_comment_is_refused_where_it_is(case: str, protos: Path) -> None:
    name, declaration = UNCOMMENTED[case]
    uncomment(protos, name, declaration)
    result = tool("lint", protos)
    assert result.returncode != 0
    assert "comment" in result.stdout


def test_stubs_of_changed_protos_are_called_stale(protos: Path) -> None:
    change(protos, *HARMLESS["a field is added"])
    result = tool("stubs", protos)
    assert result.returncode == 1
    assert "munjang/v1/resources_pb2.py " in result.stderr
    assert "make protos" in result.stderr


def test_protos_that_do_not_compile_fail_every_check(protos: Path) -> None:
    change(protos, "resources.proto", "message Vectors {", "message Vectors")
    for check in ("lint", "breaking", "stubs"):
        result = tool(check, protos)
        assert result.returncode != 0
        assert "resources.proto" in result.stderr
