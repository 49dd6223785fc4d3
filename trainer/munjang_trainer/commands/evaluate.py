"""`munjang train evaluate`: figures of one model, or of two side by side."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer needs the type at run time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from munjang.errors import ConfigurationError
from munjang.vectors import Precision
from munjang_trainer.commands.options import settings_with
from munjang_trainer.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.settings import TrainerSettings
    from munjang_trainer.data.table import Table
    from munjang_trainer.evaluation.measure import Measured, Scope

Files = list[str] | None

Part = TypeVar("Part")


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, a version number or an alias.")],
    other: Annotated[str, typer.Argument(help="A second one, to compare with the first.")] = "",
    *,
    sts: Annotated[Files, typer.Option(help="A scored-pairs file (TSV, or KLUE-STS's JSON).")] = None,
    nli: Annotated[Files, typer.Option(help="An inference file; measures accuracy on its triplets.")] = None,
    groups: Annotated[Files, typer.Option(help="A file of paraphrase groups; measures retrieval.")] = None,
    prepared: Annotated[Path | None, typer.Option(help="A run's folder: the sets that it prepared.")] = None,
    data: Annotated[str, typer.Option(help="Where relative file names begin, and the standard sets lie.")] = "",
    prompt: Annotated[str, typer.Option(help="The prompt's name. Default: the model's default prompt.")] = "",
    dimensions: Annotated[str, typer.Option(help="Cuts to measure as well, such as 256,128.")] = "",
    precisions: Annotated[str, typer.Option(help="Number formats to measure as well; empty: none.")] = ",".join(
        Precision
    ),
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 1000,
    confidence: Annotated[float, typer.Option(help="The level of all intervals.", min=0.5, max=0.999)] = 0.95,
    registry: Annotated[str, typer.Option(help="The registry, a folder or URL. Default: MUNJANG_REGISTRY.")] = "",
    compute_type: Annotated[str, typer.Option(help="float32, bfloat16 or float16. Default: by the settings.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results there.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw the results there, as PNG.")] = None,
) -> None:
    """Measure a model on Korean sets: correlation with people's scores, triplet accuracy, retrieval, speed, size.

    Without files, the standard sets that lie in the data folder are taken: KorSTS dev and test, KLUE-STS.

    Examples:
      munjang train evaluate stable --data ../shared/data

      munjang train evaluate stable runs/mine/model --sts my.tsv --json result.json --plot result.png
    """
    from munjang_trainer.evaluation.compare import compare  # noqa: PLC0415 - model libraries are slow to import
    from munjang_trainer.evaluation.measure import Scope  # noqa: PLC0415 - the same
    from munjang_trainer.evaluation.show import show, show_comparison  # noqa: PLC0415 - the same

    settings = settings_with(registry=registry, compute_type=compute_type)
    tables = _tables(data or settings.data, sts or [], nli or [], groups or [], prepared)
    cuts = _parts(dimensions, int, "dimensions")
    formats = _parts(precisions, Precision, "precisions")
    scope = Scope(prompt, cuts, formats, resamples, confidence, budget=settings.batch_tokens)
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
        write_whole(json_file, written)
    if plot_file:
        from munjang_trainer.evaluation.plot import plot  # noqa: PLC0415 - matplotlib is slow to import

        plot(plot_file, [one.results for one in measured])
    _refuse_infinite(measured)


def _measure(name: str, settings: TrainerSettings, tables: dict[str, Table], scope: Scope) -> Measured:
    from munjang_trainer.evaluation.measure import measure  # noqa: PLC0415 - model libraries are slow to import
    from munjang_trainer.evaluation.subject import load  # noqa: PLC0415 - the same

    subject = load(name, settings)
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"encoding with {subject.name}")
            return measure(subject, tables, scope, lambda done, total: bar.update(task, completed=done, total=total))
    finally:
        subject.encoder.close()


def _tables(folder: str, sts: list[str], nli: list[str], groups: list[str], prepared: Path | None) -> dict[str, Table]:
    from munjang_trainer.evaluation.sets import named_sets, prepared_sets, standard_sets  # noqa: PLC0415 - pyarrow is slow

    tables = named_sets(folder, sts, nli, groups)
    if prepared:
        tables |= prepared_sets(prepared)
    tables = tables or standard_sets(folder)
    if not tables:
        msg = f"no set to evaluate on in {folder or 'this folder'}: name files (--sts, --nli, --groups) or --data"
        raise ConfigurationError(msg, field="data")
    return tables


def _parts(written: str, kind: Callable[[str], Part], option: str) -> tuple[Part, ...]:
    try:
        return tuple(kind(part.strip()) for part in written.split(",") if part.strip())
    except ValueError as error:
        msg = f"--{option} takes values with commas between: {error}"
        raise ConfigurationError(msg, field=option) from error


def _refuse_infinite(measured: list[Measured]) -> None:
    for one in measured:
        if not one.results.finite:
            msg = f"{one.results.model} makes vectors that are not finite (NaN or infinity)"
            raise ConfigurationError(msg, field="model")
