"""Section `unary`: what one call costs over the bare forward of its text; measured as `make bench` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.speed import overhead

if TYPE_CHECKING:
    from tests.bench.speed.context import Context


def measure(context: Context) -> dict[str, Any]:
    """See `overhead.measure`."""
    return overhead.measure(context)
