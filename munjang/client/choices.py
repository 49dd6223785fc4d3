"""The words that options of a call may take, as types, so that editors complete and type checkers check them."""

from __future__ import annotations

from typing import Literal

from munjang.kinds import Role
from munjang.vectors import Precision

RoleName = Role | Literal["", "query", "document"]
"""What texts are for; empty for none."""

PrecisionName = Precision | Literal["float32", "float16", "bfloat16", "int8", "ubinary"]
"""The number format of a vector's components."""

TruncationName = Literal["end", "none"]
"""What happens to a text that is longer than the model reads: it is cut, or refused."""

ModeName = Literal["matrix", "pairwise", "top_k"]
"""Which queries are scored with which candidates."""
