"""One section of a benchmark: measured with what is to be told of the machine, a failure kept as a figure."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tests.bench.speed import machine

if TYPE_CHECKING:
    from tests.bench.speed.context import Context


def measure(package: str, section: str, context: Context) -> dict[str, Any]:
    """What PACKAGE.SECTION.measure finds. One that fails says so on the page and leaves the others to be measured."""
    print(f"{time.strftime('%H:%M:%S')} measuring: {section}", flush=True)
    begun = time.monotonic()
    told = machine.describe() | {
        "texts": "KorSTS" if len(context.texts) > 1000 else "munjang's built-in sentences",
        "quick": context.quick,
    }
    try:
        found: dict[str, Any] = import_module(f"{package}.{section}").measure(context)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other sections are worth having
        print(f"  failed: {error!r}", flush=True)
        found = {"failed": f"{type(error).__name__}: {error}"}
    return found | {"machine": told, "took_seconds": round(time.monotonic() - begun, 1)}
