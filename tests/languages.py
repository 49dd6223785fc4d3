"""Compilers and runtimes of other languages, which CI has and a laptop may lack."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def there(tool: str, *, needs: Path | None = None) -> str:
    """A tool of another language: a laptop may lack it, CI may not."""
    found = shutil.which(tool)
    if found and (needs is None or needs.exists()):
        return found
    reason = f"{needs or tool} is missing: install it, see .ci/run"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
