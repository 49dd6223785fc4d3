"""`munjang train evaluate`: metrics of one model, or of two side by side."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer needs the type at run time
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as Grid

from munjang.errors import ConfigurationError
from munjang.settings import TrainerSettings
from munjang.vectors import Precision
from munjang_trainer.output_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_trainer.data.table import Table
    from munjang_trainer.evaluation.evaluate import Evaluation, EvaluationOptions
    from munjang_trainer.evaluation.results import Comparison, Results


Files = list[str] | None

Part = TypeVar("Part")


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, a version number or an alias.")],
    other: Annotated[str, typer.Argument(help="A second one, to compare with the first.")] = "",
    *,
    sts: Annotated[Files, typer.Option(help="A scored-pairs file (TSV, or KLUE-STS's JSON).")] = None,
    nli: Annotated[Files, typer.Option(help="An inference file; measures accuracy on its triplets.")] = None,
    groups: Annotated[Files, typer.Option(help="A file of paraphrase groups; measures retrieval.")] = None,
    squad: Annotated[Files, typer.Option(help="Questions and paragraphs as SQuAD's JSON: KorQuAD, KLUE-MRC.")] = None,
    beir: Annotated[Files, typer.Option(help="A folder in BEIR's layout: corpus, queries, qrels.")] = None,
    encoding: Annotated[str, typer.Option(help="Of these files: utf-8, cp949, utf-16…")] = "utf-8",
    prepared: Annotated[Path | None, typer.Option(help="A run's folder: the sets that it prepared.")] = None,
    data: Annotated[str, typer.Option(help="The folder of relative file names and of the standard sets.")] = "",
    prompt: Annotated[str, typer.Option(help="The prompt of texts without a role. Default: the model's.")] = "",
    dimensions: Annotated[str, typer.Option(help="Shorter dimensions to measure too, such as 256,128.")] = "",
    precisions: Annotated[str, typer.Option(help="Number formats to measure too; empty: none.")] = ",".join(Precision),
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 1000,
    confidence: Annotated[float, typer.Option(help="The level of all intervals.", min=0.5, max=0.999)] = 0.95,
    registry: Annotated[str, typer.Option(help="The registry, a folder or URL. Default: MUNJANG_REGISTRY.")] = "",
    compute_type: Annotated[str, typer.Option(help="float32, bfloat16 or float16. Default: by the settings.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results there.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw the results there, as PNG.")] = None,
) -> None:
    """Measure a model on Korean sets: retrieval, correlation with people's scores, triplet accuracy, speed, size.

    Queries and documents get the prompts of their roles. Without files, the standard sets in the data folder are used:
    KorSTS dev and test, KLUE-STS, ParaKQC, KorQuAD and KLUE-MRC.

    Examples:
      munjang train evaluate stable --data ../shared/data

      munjang train evaluate stable runs/mine/model --sts my.tsv --json result.json --plot result.png
    """
    from munjang_trainer.evaluation.evaluate import EvaluationOptions, compare  # noqa: PLC0415 - model libraries are slow to import

    settings = settings_with(registry=registry, compute_type=compute_type)
    named = {"sts": sts, "nli": nli, "groups": groups, "squad": squad, "beir": beir}
    files = {kind: listed for kind, listed in named.items() if listed}
    tables = _tables(data or settings.data, files, encoding, prepared)
    cuts = _parts(dimensions, int, "dimensions")
    formats = _parts(precisions, Precision, "precisions")
    scope = EvaluationOptions(prompt, cuts, formats, resamples, confidence, budget=settings.batch_tokens)
    console = Console()
    measured = [_measure(name, settings, tables, scope) for name in (model, other) if name]
    for one in measured:
        show(console, one.results)
    written = measured[0].results.model_dump_json(indent=2)
    if other:
        comparison = compare(measured[0], measured[1], scope)
        show_comparison(console, comparison)
        written = comparison.model_dump_json(indent=2)
    if json_file:
        write_atomically(json_file, written)
    if plot_file:
        from munjang_trainer.plots import plot  # noqa: PLC0415 - matplotlib is slow to import

        plot(plot_file, [one.results for one in measured])
    _refuse_infinite(measured)


def _measure(name: str, settings: TrainerSettings, tables: dict[str, Table], scope: EvaluationOptions) -> Evaluation:
    from munjang_trainer.evaluation.evaluate import evaluate_model  # noqa: PLC0415 - model libraries are slow to import
    from munjang_trainer.evaluation.models import open_model  # noqa: PLC0415 - the same

    loaded = open_model(name, settings)
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"encoding with {loaded.name}")
            return evaluate_model(
                loaded, tables, scope, lambda done, total: bar.update(task, completed=done, total=total)
            )
    finally:
        loaded.encoder.close()


def _tables(folder: str, files: dict[str, list[str]], encoding: str, prepared: Path | None) -> dict[str, Table]:
    from munjang_trainer.evaluation.sets import named_sets, prepared_sets, standard_sets  # noqa: PLC0415 - pyarrow is slow

    tables = named_sets(folder, files, encoding)
    if prepared:
        tables |= prepared_sets(prepared)
    tables = tables or standard_sets(folder)
    if not tables:
        named = "--sts, --nli, --groups, --squad, --beir"
        msg = f"no set to evaluate on in {folder or 'this folder'}: name files ({named}) or --data"
        raise ConfigurationError(msg, field="data")
    return tables


def _parts(written: str, kind: Callable[[str], Part], option: str) -> tuple[Part, ...]:
    try:
        return tuple(kind(part.strip()) for part in written.split(",") if part.strip())
    except ValueError as error:
        msg = f"--{option} takes values with commas between: {error}"
        raise ConfigurationError(msg, field=option) from error


def _refuse_infinite(measured: list[Evaluation]) -> None:
    for one in measured:
        if not one.results.finite:
            msg = f"{one.results.model} makes vectors that are not finite (NaN or infinity)"
            raise ConfigurationError(msg, field="model")


def show(console: Console, results: Results) -> None:
    """Print one model's metrics, speed and size."""
    if not results.finite:
        console.print(f"[bold red]{results.model} makes vectors that are not finite[/]: no figures")
        return
    for name, result in results.sets.items():
        grid = Grid(title=f"{results.model} on {name} ({result.rows:,} rows)", title_justify="left")
        figures = result.by_format()
        columns = list(next(iter(figures.values())))
        grid.add_column("form")
        for column in columns:
            grid.add_column(column.replace("_", " "), justify="right")
        for form, values in figures.items():
            grid.add_row(form or "float32", *(f"{values[column]:.4f}" for column in columns))
        console.print(grid)
        low, high = result.interval.low, result.interval.high
        console.print(f"{result.main.replace('_', ' ')} {result.interval.value:.4f}, interval {low:.4f} to {high:.4f}")
    _show_cost(console, results)


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print two models side by side."""
    grid = Grid(title=f"{comparison.second.model} against {comparison.first.model}", title_justify="left")
    for column in ("figure", "first", "second", "difference", f"{comparison.confidence:.0%} interval"):
        grid.add_column(column, justify="left" if column == "figure" else "right")
    first, second = comparison.first.flat(), comparison.second.flat()
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


def settings_with(**changes: Any) -> TrainerSettings:
    """The settings of the environment, overridden by those that are given (not empty).

    Raises:
        ConfigurationError: a value is not valid.
    """
    try:
        return TrainerSettings(**{name: value for name, value in changes.items() if value})
    except ValidationError as error:
        problem = error.errors()[0]
        msg = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise ConfigurationError(msg, field=str(problem["loc"][0])) from error
