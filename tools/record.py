"""Records `munjang demo` as a drawing of a terminal, docs/demo.svg: `python -m tools.record`.

The lines appear when they were printed; pauses are cut to PAUSE seconds. The drawing needs no script and no font of
others, and shows everything at once to readers who asked their system for less motion.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TARGET = Path(__file__).resolve().parent.parent / "docs" / "demo.svg"
COMMAND = [sys.executable, "-c", "from munjang.cli.main import run; run()", "demo"]
COLUMNS = 92
PAUSE = 1.2
ROW = 24.4
"""Height of a line in rich's drawings."""
HERE = re.compile(r"[^\s`]*/munjang\b")
"""The command with the folder where it is installed."""
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" \
role="img" aria-label="munjang demo">
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, "D2Coding", "Noto Sans Mono CJK KR", Menlo, Consolas, monospace;
}}
{styles}
@media (prefers-reduced-motion: no-preference) {{
  .line {{ animation: appear 1ms linear both; animation-delay: calc(var(--at) * 1s); }}
  @keyframes appear {{ from {{ opacity: 0; }} }}
}}
</style>
<defs>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#0c0c0c"/>
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def record() -> list[tuple[float, str]]:
    """The lines that the command prints, in colour, each with the seconds since the start."""
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment |= {"COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}
    begun = time.monotonic()
    with subprocess.Popen(  # noqa: S603 - our own command
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        found = [(time.monotonic() - begun, HERE.sub("munjang", line.rstrip("\n"))) for line in process.stdout or ()]
    if process.returncode:
        sys.exit(f"munjang demo failed: {process.returncode}")
    return found


def shortened(lines: list[tuple[float, str]]) -> list[float]:
    """When each line appears, in seconds, its pauses cut."""
    at, before, times = 0.0, lines[0][0], []
    for second, _ in lines:
        at += min(second - before, PAUSE)
        before = second
        times.append(round(at, 2))
    return times


def drawing(lines: list[tuple[float, str]]) -> str:
    """The terminal as SVG."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor")
    console.print(Text("$ munjang demo", style="bold"))
    times = [0.0]
    for second, (_, line) in zip(shortened(lines), lines, strict=True):
        rows = Text.from_ansi(line).wrap(console, COLUMNS) or [Text()]
        for row in rows:
            console.print(row)
            times.append(second)
    svg = console.export_svg(theme=MONOKAI, code_format=FORMAT, unique_id="demo")
    shown = [f'class="line" style="--at:{second}"' for second in times]

    def text(match: re.Match[str]) -> str:
        return f"<g {shown[int(match[1])]}>{match[0]}</g>" if match[2].strip() else ""

    def background(match: re.Match[str]) -> str:
        return f"<rect {shown[round(float(match[2]) / ROW)]} {match[1]}"

    svg = re.sub(r'<text [^>]*clip-path="url\(#demo-line-(\d+)\)"[^>]*>([^<]*)</text>', text, svg)
    return re.sub(r'<rect (fill="[^"]*" x="[^"]*" y="([^"]*)")', background, svg)


def main() -> None:
    """Run the command and write the drawing."""
    TARGET.write_text(drawing(record()), encoding="utf-8")


if __name__ == "__main__":
    main()
