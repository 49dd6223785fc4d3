"""The kinds of values that settings take, with their ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser())]
