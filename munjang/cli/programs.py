"""How a person calls our programs from their own shell: by name where that works, else by the path that does."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def spoken(name: str) -> str:
    """What to type for a program that is installed beside this one: `munjang`, or `.venv/bin/munjang`.

    Its bare name where the shell would find that very program; else its path, relative where it lies below the
    working directory. Where it is not installed as a program at all, the bare name.
    """
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not beside.is_file() or (found is not None and Path(found).resolve() == beside.resolve()):
        return name
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
