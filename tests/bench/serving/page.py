"""Figures to a Markdown page with plots. Reads figures alone, so a page can be made again without measuring."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.bench.serving import page_sections, plots
from tests.bench.serving.promises import promises
from tests.bench.speed.page import assemble

if TYPE_CHECKING:
    from pathlib import Path

INTRO = """# The serving core under load and in trouble

Written by `make bench-serving`; the same figures as JSON: [serving.json](serving.json). Real servers with the starter
model on loopback; the client runs on the same cores and tries nothing twice. What the scheduler does on a
simulated clock stands in [scheduling.md](scheduling.md). Compare figures within one section only.
"""
TITLES = {
    "swaps": "Promotions and rollbacks under load",
    "overload": "Three times the capacity",
    "hopeless": "Lists that cannot be answered in time",
    "hostile": "Texts that are made to take long",
    "http": "HTTP beside gRPC",
    "mixed": "Short and long texts, calls and streams",
    "unary": "One call",
    "faults": "Faults",
    "stream": "A stream that is read slowly",
    "restart": "Rolling restart",
    "long": "Texts of up to 8,192 tokens",
    "rerank": "Rerank beside Encode",
}


def write(figures: dict[str, Any], out: Path) -> None:
    """Write OUT/serving.json, OUT/serving-*.svg and OUT/serving.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "serving.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    drawn = plots.draw(figures, out)
    (out / "serving.md").write_text(render(figures, drawn), "utf-8")


def render(figures: dict[str, Any], drawn: dict[str, str]) -> str:
    """The page; `drawn` are the plots' file names by section."""
    return assemble(INTRO, TITLES, figures, page_sections, promises(figures), drawn)
