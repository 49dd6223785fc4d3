"""Results as tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table as Grid

if TYPE_CHECKING:
    from rich.console import Console

    from munjang_trainer.evaluation.results import Comparison, Results


def show(console: Console, results: Results) -> None:
    """Print one model's figures, speed and size."""
    if not results.finite:
        console.print(f"[bold red]{results.model} makes vectors that are not finite[/]: no figures")
        return
    for name, result in results.sets.items():
        grid = Grid(title=f"{results.model} on {name} ({result.rows:,} rows)", title_justify="left")
        figures = _by_form(result.figures)
        columns = list(next(iter(figures.values())))
        grid.add_column("form")
        for column in columns:
            grid.add_column(column.replace("_", " "), justify="right")
        for form, values in figures.items():
            grid.add_row(form or "float32", *(f"{values[column]:.4f}" for column in columns if column in values))
        console.print(grid)
        low, high = result.interval.low, result.interval.high
        console.print(f"{result.main.replace('_', ' ')} {result.interval.value:.4f}, interval {low:.4f} to {high:.4f}")
    _show_cost(console, results)


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print two models side by side."""
    grid = Grid(title=f"{comparison.second.model} against {comparison.first.model}", title_justify="left")
    for column in ("figure", "first", "second", "difference", f"{comparison.confidence:.0%} interval"):
        grid.add_column(column, justify="left" if column == "figure" else "right")
    first, second = comparison.first.main(), comparison.second.main()
    for name, change in comparison.differences.items():
        style = "green" if change.low > 0 else "red" if change.high < 0 else ""
        interval = f"{change.low:+.4f} to {change.high:+.4f}"
        grid.add_row(name, f"{first[name]:.4f}", f"{second[name]:.4f}", f"{change.value:+.4f}", interval, style=style)
    console.print(grid)
    for results in (comparison.first, comparison.second):
        _show_cost(console, results)


def _show_cost(console: Console, results: Results) -> None:
    speed, size = results.speed, results.size
    prompt = f", prompt {results.prompt}" if results.prompt else ""
    console.print(
        f"{results.model}: {speed.texts_per_second:,.0f} texts/s, {speed.tokens_per_second:,.0f} tokens/s"
        f" ({speed.runtime}, {speed.compute_type}); {size.parameters / 1e6:.1f} M parameters,"
        f" {size.bytes_on_disk / 1e6:.0f} MB, {size.dimensions} dimensions{prompt}"
    )


def _by_form(figures: dict[str, float]) -> dict[str, dict[str, float]]:
    forms: dict[str, dict[str, float]] = {}
    for name, value in figures.items():
        form, _, figure = name.rpartition(".")
        forms.setdefault(form, {})[figure] = value
    return forms
