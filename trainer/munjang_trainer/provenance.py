"""How a model was made: code, libraries, machine. Enough to make it again."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import munjang

LIBRARIES = (
    "accelerate",
    "datasets",
    "numpy",
    "peft",
    "safetensors",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


def libraries() -> dict[str, str]:
    """The versions of the libraries that training depends on, if they are installed."""
    versions = {"python": platform.python_version(), "munjang": munjang.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def code_version() -> str:
    """The version of munjang and, in a checkout, the commit: `0.1.0+g1a2b3c4d` or `0.1.0+g1a2b3c4d.changed`."""
    commit = _git("rev-parse", "--short=8", "HEAD")
    if not commit:
        return munjang.__version__
    changed = ".changed" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{munjang.__version__}+g{commit}{changed}"


def machine() -> str:
    """The processor's kind and number of cores."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def _git(*arguments: str) -> str:
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
