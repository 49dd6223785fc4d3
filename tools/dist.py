"""What is handed out: `make dist` and `make bundle`.

dist: the wheel, the source distribution, and the images' build context as an archive.
bundle: one archive for a machine without a network: all wheels, the manifests, a registry with a model, install.sh.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import munjang

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "munjang", "server", "worker", "trainer")
"""What .dockerignore lets through; tests hold both against each other."""

INSTALL = """\
#!/bin/sh
# Installs munjang into a folder, without a network: sh install.sh [FOLDER], by default ~/munjang.
# PYTHON names the Python to use (3.11 or newer, of the release that the wheels were fetched for).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${{1:-$HOME/munjang}}
"${{PYTHON:-python3}}" -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$here/wheels" \\
  --constraint "$here/constraints.txt" "munjang{extra}=={release}"
if [ -d "$here/registry" ] && [ ! -e "$target/home/registry" ]; then
  mkdir -p "$target/home"
  cp -R "$here/registry" "$target/home/registry"
fi
echo "installed: MUNJANG_HOME=$target/home $target/bin/munjang up"
"""


def build(folder: Path, *formats: str) -> None:
    """Build distributions of this tree, without isolation: its build backend is installed."""
    _run("-m", "build", "--no-isolation", *(f"--{each}" for each in formats), "--outdir", folder, ROOT)


def context(target: Path) -> None:
    """Write the images' build context: `docker build -f deploy/docker/Dockerfile --target server - < ARCHIVE`."""
    with tarfile.open(target, "w:gz") as archive:
        for name in (*CONTEXT, "deploy/docker/Dockerfile"):
            archive.add(ROOT / name, name, filter=_plain)


def bundle(target: Path, extra: str, *, model: bool) -> None:
    """Write the archive for a machine without a network.

    Args:
        target: the archive; beside it goes its sha256.
        extra: of the package, whose wheels are fetched for this Python and this platform.
        model: publish a first model into a registry in it: the starter, or the one that MUNJANG_MODEL names.
    """
    with tempfile.TemporaryDirectory(prefix="munjang-bundle-") as temporary:
        folder = Path(temporary)
        fetch(folder / "wheels", extra)
        if model:
            _run("-P", "-m", "munjang_trainer", "starter", "--registry", folder / "registry")
        pack(folder, target, extra)


def fetch(folder: Path, extra: str) -> None:
    """Build our wheel, and fetch those of all that an extra needs."""
    build(folder, "wheel")
    (wheel,) = folder.glob("munjang-*.whl")
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    options = ("--only-binary", ":all:", "--constraint", ROOT / "constraints.txt", "--dest", folder)
    _run("-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options, wanted)


def pack(folder: Path, target: Path, extra: str) -> None:
    """Add the manifests and the script to a folder of wheels, and perhaps a registry, and write it as an archive."""
    shutil.copy(ROOT / "constraints.txt", folder)
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    script = INSTALL.format(extra=f"[{extra}]" if extra else "", release=munjang.__version__)
    (folder / "install.sh").write_text(script, "utf-8")
    (folder / "install.sh").chmod(0o755)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w") as archive:  # wheels are compressed already
        archive.add(folder, target.name.removesuffix(".tar"), filter=_plain)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target.with_name(target.name + ".sha256").write_text(f"{digest}  {target.name}\n", "ascii")


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without caches and without this machine's users."""
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _run(*words: object) -> None:
    subprocess.run([sys.executable, *map(str, words)], check=True)  # noqa: S603 - our own words


def main() -> None:
    """`python -m tools.dist dist | bundle`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["dist", "bundle"])
    parser.add_argument("--extra", default="starter", help="of the bundle: what its machine is for")
    parser.add_argument("--no-model", action="store_true", help="a bundle without a registry")
    options = parser.parse_args()
    folder = ROOT / "dist"
    if options.what == "dist":
        build(folder, "wheel", "sdist")
        context(folder / f"munjang-{munjang.__version__}-images.tar.gz")
    else:
        bundle(folder / f"munjang-{munjang.__version__}-bundle.tar", options.extra, model=not options.no_model)


if __name__ == "__main__":
    main()
