"""Figures to a Markdown page with plots. Reads figures alone, so a page can be made again without measuring."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.bench.speed import page_sections, plots
from tests.bench.speed.promises import promises

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from tests.bench.speed.promises import Promise

INTRO = """# Benchmarks

Written by `make bench`; the same figures as JSON: [bench/speed.json](bench/speed.json), the batcher alone:
[bench/batching.md](bench/batching.md). Contestants run turn and turn about in one run; figures are medians of the
rounds with the lowest and the highest in brackets, and ratios are medians of the ratios within a round, because a
machine's speed changes from minute to minute. Compare figures within one section only.
"""
TITLES = {
    "encode": "Whole lists in one process",
    "minilm": "The same with all-MiniLM-L6-v2, Korean and English",
    "quality": "What a number format costs",
    "served": "Through a server",
    "overhead": "One call",
    "wire": "Vectors on the wire",
    "bulk": "A file through a worker",
    "startup": "Start and memory",
    "linear": "Cost by size",
    "decoder": "A decoder of Qwen3-Embedding-0.6B's shape, random weights",
    "gpu": "GPU",
}


def write(figures: dict[str, Any], out: Path) -> None:
    """Write OUT/bench/speed.json, OUT/bench/*.svg and OUT/benchmarks.md."""
    folder = out / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    drawn = plots.draw(figures, folder)
    (out / "benchmarks.md").write_text(render(figures, drawn), "utf-8")


def render(figures: dict[str, Any], drawn: dict[str, str]) -> str:
    """The page; `drawn` are the plots' file names by section."""
    pictures = {name: f"bench/{file}" for name, file in drawn.items()}
    return assemble(INTRO, TITLES, figures, page_sections, promises(figures), pictures)


def assemble(
    intro: str,
    titles: dict[str, str],
    figures: dict[str, Any],
    writers: ModuleType,
    lines: list[Promise],
    pictures: dict[str, str],
) -> str:
    """A page of measured sections: the introduction, what was promised, then each section that there are figures of.

    Args:
        intro: the page's beginning, with its title.
        titles: of the sections in their order, by name.
        figures: what was measured, by section.
        writers: has a function for each section that tells its figures.
        lines: what was promised.
        pictures: paths from the page, by section.
    """
    table = page_sections.promised(lines)
    parts = [intro, *(["## What was promised", table] if table else [])]
    for name, title in titles.items():
        if name not in figures:
            continue
        found = figures[name]
        parts += [f"## {title}", machine_line(found["machine"], found["took_seconds"])]
        if "failed" in found:
            parts.append(f"Could not be measured: {found['failed']}")
            continue
        parts.append(getattr(writers, name)(found))
        if name in pictures:
            parts.append(f"![{pictures[name].rpartition('/')[2]}]({pictures[name]})")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def machine_line(told: dict[str, Any], seconds: float) -> str:
    """What was measured on, with what, when and for how long."""
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    quick = "**A quick run at small sizes: it shows that the benchmark works, not how fast anything is.** "
    return (
        f"{quick if told['quick'] else ''}{told['processor']}, {told['cores']} cores, {told['memory_gib']} GiB, "
        f"GPU: {told['device']}; Python {told['python']}, {versions}; commit {told['commit']}, {told['measured_at']}, "
        f"load before {told['load_at_start']:.1f}, {seconds:.0f} s; texts: {told['texts']}."
    )
