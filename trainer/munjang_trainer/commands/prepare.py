"""`munjang train prepare`: data files to Parquet with a report."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer needs the type at run time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from munjang.errors import ConfigurationError
from munjang.settings import TrainerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from munjang_trainer.data.prepare import DataReport, TableReport
    from munjang_trainer.recipe.schema import DataConfig

Files = list[str] | None


def prepare(
    recipe: Annotated[str, typer.Argument(help="A recipe: its data part says what to read. Or name files below.")] = "",
    *,
    nli: Annotated[Files, typer.Option(help="An inference file (KorNLI), which gives triplets.")] = None,
    sts: Annotated[Files, typer.Option(help="A scored-pairs file (KorSTS, KLUE-STS) to train on.")] = None,
    groups: Annotated[Files, typer.Option(help="A file of paraphrase groups (paraKQC).")] = None,
    evaluate: Annotated[Files, typer.Option(help="A scored-pairs file with no text of the training data.")] = None,
    encoding: Annotated[str, typer.Option(help="Of the files that are named here: utf-8, cp949, utf-16…")] = "utf-8",
    output: Annotated[Path | None, typer.Option(help="The folder to write. Default: the recipe's run folder.")] = None,
    data: Annotated[str, typer.Option(help="The folder of relative file names. Default: as the recipe says.")] = "",
    seed: Annotated[int, typer.Option(help="The seed of every random choice, if no recipe sets one.")] = 42,
    leaks: Annotated[str, typer.Option(help="fail, drop or allow. Default: as the recipe says, or fail.")] = "",
    hashes: Annotated[Path | None, typer.Option(help="Write the hashes of all evaluation texts there.")] = None,
    tokenizer: Annotated[str, typer.Option(help="A model folder or hub id whose tokens the report counts.")] = "",
) -> None:
    """Make training data: triplets, pairs and scored pairs as Parquet, with a report and a leak check.

    Examples:
      munjang train prepare starter-ko --data ../shared/data

      munjang train prepare --nli kornli/multinli.train.ko.tsv --nli kornli/snli_1.0_train.ko.tsv
      --evaluate korsts/sts-dev.tsv --output triples
    """
    from munjang_trainer.data.prepare import prepare as run  # noqa: PLC0415 - pyarrow is slow to import; --help must not pay
    from munjang_trainer.data.prepare import write_hashes  # noqa: PLC0415 - the same

    if recipe:
        part, name, seed = _of_recipe(recipe, data, leaks)
    else:
        files = {"nli": nli, "sts": sts, "groups": groups}
        part, name = _of_files(files, evaluate or [], data, leaks, encoding), "prepared"
    folder = output or TrainerSettings().runs_folder / name / "data"
    console = Console()
    with console.status("reading and checking the data"):
        report = run(part, seed, folder, _token_counter(tokenizer))
    show(console, report, folder)
    if hashes:
        console.print(f"{write_hashes(folder, hashes):,} hashes written to {hashes}", soft_wrap=True)


def show(console: Console, report: DataReport, folder: Path) -> None:
    """Print a report as tables."""
    console.print(_grid("to train on", report.sources))
    console.print(_grid("to evaluate on", report.evaluation))
    for leak in report.leaks:
        console.print(f"[yellow]leak[/]: {leak.rows} rows of {leak.source} hold texts of {leak.evaluation}")
    for name in report.missing:
        console.print(f"[yellow]missing[/]: {name}")
    console.print(f"written to {folder}, content {report.fingerprint[:16]}", soft_wrap=True)


def _grid(title: str, reports: dict[str, TableReport]) -> Grid:
    grid = Grid(title=title, title_justify="left")
    for column in ("name", "kind", "read", "dropped", "rows", "in batches of 64", "tokens (least/mean/most)"):
        grid.add_column(column, justify="left" if column in {"name", "kind"} else "right")
    for name, report in reports.items():
        dropped = "\n".join(f"{count} {reason}" for reason, count in report.dropped.items()) or "0"
        lengths = report.tokens or report.characters
        spreads = "\n".join(f"{column} {s.least}/{s.mean}/{s.most}" for column, s in lengths.items())
        unit = "" if report.tokens else "\n(characters)"
        figures = (f"{report.read:,}", dropped, f"{report.rows:,}", f"{report.in_whole_batches:,}", spreads + unit)
        grid.add_row(name, report.kind, *figures)
    return grid


def _of_recipe(recipe: str, data: str, leaks: str) -> tuple[DataConfig, str, int]:
    from munjang_trainer.recipe.load import load_recipe  # noqa: PLC0415 - only when the command runs

    overrides = [f"data.leaks={leaks}"] if leaks else []
    loaded = load_recipe(recipe, data_folder=data or TrainerSettings().data, overrides=overrides)
    return loaded.data, loaded.name, loaded.seed


def _of_files(files: dict[str, Files], evaluate: list[str], data: str, leaks: str, encoding: str) -> DataConfig:
    from munjang_trainer.recipe.load import parse  # noqa: PLC0415 - the same
    from munjang_trainer.recipe.schema import DataConfig  # noqa: PLC0415 - only when the command runs

    sources = {kind: {"kind": kind, "files": named, "encoding": encoding} for kind, named in files.items() if named}
    if not sources:
        msg = "name a recipe, or files to prepare (--nli, --sts, --groups)"
        raise ConfigurationError(msg, field="recipe")
    named = [{"kind": "sts", "files": [file], "encoding": encoding} for file in evaluate]
    judged = {f"evaluated-{number}": {"source": source} for number, source in enumerate(named)}
    content = {"folder": data, "sources": sources, "evaluation": judged, "leaks": leaks or "fail"}
    return parse(DataConfig, content, "what was asked for")


def _token_counter(name: str) -> Callable[[Sequence[str]], list[int]] | None:
    """A function that counts the tokens of texts, special ones included, by a model's own tokenizer."""
    if not name:
        return None
    from transformers import AutoTokenizer  # noqa: PLC0415 - slow to import

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        msg = f"{name!r} has no tokenizer that can be loaded: {error}"
        raise ConfigurationError(msg, field="tokenizer") from error
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
