"""The archives that are handed out: images are built from one, and the other installs without a network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from munjang import __version__
from tools.dist import CONTEXT, context, pack

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_ROUTE = ["unshare", "--map-root-user", "--net"]


def has_namespaces():
    if shutil.which(WITHOUT_ROUTE[0]) is None:
        return False
    return subprocess.run([*WITHOUT_ROUTE, "true"], check=False, capture_output=True).returncode == 0


def wheel(folder):
    """A wheel of our name with one module and no dependencies."""
    folder.mkdir()
    info = f"munjang-{__version__}.dist-info"
    with zipfile.ZipFile(folder / f"munjang-{__version__}-py3-none-any.whl", "w") as archive:
        archive.writestr("munjang/__init__.py", "FOUND = '설치됨'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: munjang\nVersion: {__version__}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def test_the_context_holds_what_docker_would_see_and_the_dockerfile(tmp_path):
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert sorted(CONTEXT) == sorted(kept)
    context(tmp_path / "images.tar.gz")
    with tarfile.open(tmp_path / "images.tar.gz") as archive:
        names = archive.getnames()
    assert {"deploy/docker/Dockerfile", "munjang/__init__.py", "constraints.txt"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.skipif(not has_namespaces() and "CI" not in os.environ, reason="no user namespaces here")
def test_a_bundle_installs_with_its_registry_where_there_is_no_route(tmp_path, tiny_registry):
    folder, archive = tmp_path / "made", tmp_path / "out" / "munjang-bundle.tar"
    shutil.copytree(tiny_registry.url, folder / "registry")
    wheel(folder / "wheels")
    pack(folder, archive, "")
    digest, name = archive.with_name("munjang-bundle.tar.sha256").read_text("ascii").split()
    assert (digest, name) == (hashlib.sha256(archive.read_bytes()).hexdigest(), archive.name)

    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "there", filter="data")
    place = tmp_path / "there" / "munjang-bundle"
    assert (place / "deploy" / "k8s" / "overlays" / "prod" / "kustomization.yaml").is_file()
    target = tmp_path / "설치"
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": ""}
    install = [*WITHOUT_ROUTE, "sh", place / "install.sh", target]
    done = subprocess.run(install, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{target}/bin/munjang up" in done.stdout
    say = [target / "bin" / "python", "-I", "-c", "import munjang; print(munjang.FOUND)"]
    assert subprocess.run(say, check=True, capture_output=True, text=True).stdout == "설치됨\n"
    assert (target / "home" / "registry" / "versions" / "1" / "manifest.json").is_file()
