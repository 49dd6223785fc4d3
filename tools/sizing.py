"""Writes docs/sizing.md, the sizing guide, from the figures in docs/bench that `make bench` measured.

`python -m tools.sizing` writes the page, `python -m tools.sizing --check` says whether it is current. Every number on
it is measured, read from a setting's default, or computed here from those; the words are those of sizing.template.md.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from munjang.settings import ServerSettings
from munjang.vectors import Precision, row_bytes

DOCS = Path(__file__).resolve().parent.parent / "docs"
PATH = DOCS / "sizing.md"
TEMPLATE = Path(__file__).with_name("sizing.template.md")
DIMENSIONS = 384
"""Components of the starter model's vectors."""

SHARE = 0.6
"""How much of what a server can do is planned for its peak."""

WANTED = 300
"""Sentences per second of the worked example."""

MILLION = 1_000_000


def page() -> str:
    """The page."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        **values(*(_figures(name) for name in ("speed", "memory", "bulk")))
    )


def values(speed: dict[str, Any], memory: dict[str, Any], bulk: dict[str, Any]) -> dict[str, str]:
    """What the page's words have gaps for."""
    singles = [case for case in speed["served"]["cases"] if case["batch"] == 1]
    most = max(_rate(case) for case in singles)
    planned = SHARE * most
    rows = speed["bulk"]["rows_per_second"]["median"]
    hours = MILLION / rows / 3600
    machine, start, model = speed["served"]["machine"], speed["startup"], memory["model"]
    return {
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "measured_at": machine["measured_at"][:10],
        "model": model["name"],
        "weights": megabytes(model["weights"]),
        "tokens": digits(speed["encode"]["sets"]["sentences"]["tokens"]),
        "served": "\n".join(_served(case) for case in singles),
        "most": digits(most),
        "planned": digits(planned),
        "share": f"{SHARE:.0%}",
        "wanted": str(WANTED),
        "servers": str(math.ceil(WANTED / planned)),
        "servers_and_one": str(math.ceil(WANTED / planned) + 1),
        "lengths": "\n".join(_lengths(speed["linear"]["tokens"])),
        "batch_tokens": f"{ServerSettings.model_fields['batch_tokens'].default:,}",
        **{f"server_{name}": megabytes(size) for name, size in memory["server"].items()},
        **{f"worker_{name}": megabytes(size) for name, size in memory["worker"].items()},
        "first_model_peak": megabytes(memory["trainer"]["first_model_peak"]),
        "callers": str(memory["callers"]),
        "first_start": digits(start["first_start_seconds"]["median"]),
        "ready_start": digits(start["ready_start_seconds"]["median"]),
        "bulk_rows": digits(rows),
        "bulk_share": f"{speed['bulk']['share_of_in_process']:.0%}",
        "bulk_minutes": digits(60 * hours),
        "bulk_workers": str(math.ceil(100 * hours / 24)),
        "plumbing": digits(bulk["plumbing"]["us_a_row"]),
        "plumbing_memory": megabytes(1e6 * bulk["plumbing"]["most_mb"]),
        "sorting": digits(bulk["sorting"]["factor"]),
        "version_disk": megabytes(model["version_on_disk"]),
        "export_disk": megabytes(model["export_on_disk"]),
        "outputs": "\n".join(_output(precision) for precision in Precision if precision is not Precision.BFLOAT16),
        "gpu": _gpu(speed["gpu"]),
    }


def megabytes(size: float) -> str:
    """Bytes as megabytes."""
    return f"{size / 1e6:,.0f} MB"


def digits(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _rate(case: dict[str, Any]) -> float:
    return float(case["servers"]["munjang"]["texts_per_second"]["median"])


def _served(case: dict[str, Any]) -> str:
    found = case["servers"]["munjang"]
    p50, p99 = (digits(found[name]["median"]) for name in ("p50", "p99"))
    return f"| {case['callers']} | {digits(_rate(case))} | {p50} | {p99} |"


def _lengths(found: dict[str, Any]) -> list[str]:
    pairs = zip(found["sizes"], found["seconds"], strict=True)
    return [f"| {tokens} | {digits(1000 * seconds)} | {digits(1 / seconds)} |" for tokens, seconds in pairs]


def _output(precision: Precision) -> str:
    size = row_bytes(DIMENSIONS, precision)
    return f"| `{precision}` | {size:,} | {digits(size * MILLION / 1e9)} GB |"


def _gpu(found: dict[str, Any]) -> str:
    if "skipped" in found:
        return "Not measured: the machine has none. What the component `gpu` requests and allows is a guess."
    return "Figures of a GPU are on the page [Benchmarks](benchmarks.md#gpu)."


def _figures(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "bench" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Write or check the page; returns the exit status."""
    if sys.argv[1:] == ["--check"]:
        current = PATH.is_file() and PATH.read_text(encoding="utf-8") == page()
        if not current:
            sys.stderr.write("docs/sizing.md is not what docs/bench says: run `make docs`\n")
        return 0 if current else 1
    PATH.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
