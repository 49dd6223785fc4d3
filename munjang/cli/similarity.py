"""`munjang similarity`: every text compared with every other, as a heat map, numbers or JSON.

A heat map on a terminal, numbers in a pipe, the nearest few of each text where there are many.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from munjang.cli import console, options
from munjang.cli.texts import read_texts

WIDEST = 12
"""More columns than this are shown as the nearest few of each row."""

NEAREST = 3
_COLD, _WARM = (38, 70, 140), (196, 60, 30)


@options.calls_server
def similarity(
    texts: Annotated[list[str] | None, typer.Argument(help="The texts to compare.", show_default=False)] = None,
    *,
    file: options.File = "",
    encoding: options.Encoding = "utf-8",
    role: options.PromptRole = None,
    prompt: options.PromptName = "",
    prompt_text: options.PromptText = None,
    no_prompt: options.NoPrompt = False,
    version: options.Version = "",
    dimensions: options.Dimensions = 0,
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Compare every text with every other by the model's own similarity function.

    Prints a heat map; with --json an object whose `scores` are the rows of the matrix.

    Examples:
      munjang similarity "남자가 드럼을 쳤다." "남자가 음악을 연주하고 있다." "비가 온다."

      munjang similarity --file questions.txt --prompt query --json
    """
    given = read_texts(texts, file, encoding)
    choice = options.prompt_choice(role, prompt, prompt_text, none=no_prompt)
    asked = {f"query_{name}": value for name, value in choice.items()}
    with (
        server.connect() as client,
        given.named_errors(),
    ):
        found = client.similarity(given.items, version=version, dimensions=dimensions, **asked)
    if as_json:
        console.print_json(
            {
                "version": found.version,
                "space_id": found.space_id,
                "function": found.function,
                "scores": found.scores.tolist(),
                "token_counts": found.query_token_counts.tolist(),
                "truncated": list(found.truncated_queries),
            }
        )
        return
    title = f"{found.function} similarity · version {found.version}"
    console.stdout().print(heat_map(given.items, found.scores, title))


def heat_map(texts: Sequence[str], scores: NDArray[np.float32], title: str) -> RenderableType:
    """The scores [n, n] of texts with themselves as something that rich prints."""
    return _nearest(texts, scores, title) if len(texts) > WIDEST else _matrix(texts, scores, title)


def _matrix(texts: Sequence[str], scores: NDArray[np.float32], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    table.add_column("")
    table.add_column("text")
    for number in range(1, len(texts) + 1):
        table.add_column(str(number), justify="right")
    low, high = _range(scores)
    for number, (text, row) in enumerate(zip(texts, scores, strict=True), 1):
        cells = [Text(f" {value:.3f} ", style=_style(float(value), low, high)) for value in row]
        table.add_row(str(number), escape(console.shorten(text, 40)), *cells)
    return table


def _nearest(texts: Sequence[str], scores: NDArray[np.float32], title: str) -> Table:
    table = Table("", "text", "nearest others", title=title, title_justify="left")
    for number, (text, row) in enumerate(zip(texts, scores, strict=True)):
        order = [int(index) for index in np.argsort(-row, kind="stable") if index != number][:NEAREST]
        others = "\n".join(f"{row[index]:.3f}  {escape(console.shorten(texts[index], 40))}" for index in order)
        table.add_row(str(number + 1), escape(console.shorten(text, 40)), others)
    return table


def _range(scores: NDArray[np.float32]) -> tuple[float, float]:
    """The scores between which the colours run: those off the diagonal, which is always the highest."""
    others = scores[~np.eye(len(scores), dtype=bool)] if len(scores) > 1 else scores
    return float(others.min()), float(others.max())


def _style(value: float, low: float, high: float) -> str:
    share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 1.0
    red, green, blue = (round(cold + share * (warm - cold)) for cold, warm in zip(_COLD, _WARM, strict=True))
    return f"white on rgb({red},{green},{blue})"
