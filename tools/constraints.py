"""Writes constraints.txt (`make constraints`): what pip resolves `.[dev]` to in a clean environment. Needs pip only.

Left out: this project, and what belongs to one build of torch (its local version tag, the CUDA packages), so that the
same pins hold with and without a GPU.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
# Everything that `.[dev]` installs, pinned, so that a fresh install is repeatable. Written by `make constraints`.
"""

BUILD_OF_TORCH = re.compile(r"(nvidia|cuda|triton|pytorch-triton)\b", re.IGNORECASE)
"""Packages that only some builds of torch need; torch itself pins them."""


def main() -> None:
    """Resolve, and write the pins."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        _run(python, "-m", "pip", "install", "--quiet", torch())
        _run(python, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[dev]")
        frozen = _run(python, "-m", "pip", "freeze", "--exclude-editable")
    (ROOT / "constraints.txt").write_text(HEAD + pins(frozen), encoding="utf-8")


def torch() -> str:
    """The requirement of torch, as pyproject.toml has it."""
    found = re.search(r'"(torch\W[^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if found is None:
        msg = "pyproject.toml does not ask for torch"
        raise RuntimeError(msg)
    return found[1]


def pins(frozen: str) -> str:
    """The lines of `pip freeze` that hold on every machine, without local version tags."""
    lines = [line.partition("+")[0].strip() for line in frozen.splitlines() if re.match(r"[\w.-]+==", line)]
    return "".join(f"{line}\n" for line in lines if not BUILD_OF_TORCH.match(line))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - pip, by us


if __name__ == "__main__":
    main()
