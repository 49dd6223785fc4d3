"""Preparing data: sources and evaluation sets of a recipe become a folder of Parquet files with a report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang_trainer.data import leaks, sources, table
from munjang_trainer.data.files import Tally, exists, locate, state
from munjang_trainer.data.report import DataReport, TableReport, describe
from munjang_trainer.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.data import DataPart

REPORT = "report.json"
HELD_OUT = "-held-out"

_log = logging.getLogger(__name__)


def prepare(
    data: DataPart, seed: int, output: Path, lengths: Callable[[Sequence[str]], Sequence[int]] | None = None
) -> DataReport:
    """Prepare data into `output`, or return the report that stands there if it answers the very same request.

    Args:
        data: what to read; file names are relative to its folder.
        seed: of every random choice.
        output: the folder to write; `<source>.parquet` and `evaluation/<set>.parquet` and, last, report.json.
        lengths: counts the tokens of texts, for the report.

    Raises:
        ConfigurationError: a file cannot be read, or a source gives no row.
        DataLeak: training rows hold texts of an evaluation set, and `data.leaks` is `fail`.
    """
    standing = read_report(output)
    request = {"data": data.model_dump(mode="json"), "seed": seed, "files": _states(data)}
    if standing and standing.request == request:
        return standing
    (output / REPORT).unlink(missing_ok=True)
    report = _prepare(data, seed, output, lengths).model_copy(update={"request": request})
    write_whole(output / REPORT, report.model_dump_json(indent=2))
    return report


def read_report(folder: Path) -> DataReport | None:
    """The report of a folder that was prepared to the end, or None."""
    try:
        return DataReport.model_validate_json((folder / REPORT).read_bytes())
    except (OSError, ValueError):
        return None


def read_sources(folder: Path) -> dict[str, Table]:
    """The tables to train on, by source."""
    report = _need(folder)
    return {name: table.read(folder / f"{name}.parquet") for name in report.sources}


def read_evaluation(folder: Path) -> dict[str, Table]:
    """The tables to evaluate on, by set."""
    report = _need(folder)
    return {name: table.read(folder / "evaluation" / f"{name}.parquet") for name in report.evaluation}


def _need(folder: Path) -> DataReport:
    report = read_report(folder)
    if report is None:
        msg = f"{folder} holds no prepared data: run `munjang train prepare` first"
        raise ConfigurationError(msg, field="data")
    return report


def _states(data: DataPart) -> dict[str, str]:
    """What would change if one of the files did."""
    used = [*data.sources.values(), *(evaluated.source for evaluated in data.evaluation.values())]
    return {file: state(locate(data.folder, file)) for source in used for file in source.files}


def _prepare(
    data: DataPart, seed: int, output: Path, lengths: Callable[[Sequence[str]], Sequence[int]] | None
) -> DataReport:
    loaded = {name: sources.load(source, data.folder, seed) for name, source in data.sources.items()}
    trained = {name: found.train for name, found in loaded.items()}
    tallies = {name: found.tally for name, found in loaded.items()}
    judged, missing = _evaluation(data, seed, tallies)
    for name, found in loaded.items():
        if found.held_out.rows:
            judged[name + HELD_OUT] = found.held_out
    found_leaks = leaks.find_leaks(trained, judged)
    if data.leaks == "fail":
        leaks.refuse(found_leaks)
    for leak in found_leaks if data.leaks == "drop" else ():
        clean = leaks.without_leaks(trained[leak.source], judged)
        dropped = len(trained[leak.source].rows) - len(clean.rows)
        tallies[leak.source].dropped["text of an evaluation set"] += dropped
        trained[leak.source] = clean
    _refuse_empty(trained)
    for name, rows in trained.items():
        rows.write(output / f"{name}.parquet")
    for name, rows in judged.items():
        rows.write(output / "evaluation" / f"{name}.parquet")
    return DataReport(
        seed=seed,
        sources=_reports(data, trained, tallies, lengths),
        evaluation=_reports(data, judged, tallies, lengths),
        missing=missing,
        leaks=found_leaks,
    )


def _evaluation(data: DataPart, seed: int, tallies: dict[str, Tally]) -> tuple[dict[str, Table], list[str]]:
    judged: dict[str, Table] = {}
    missing: list[str] = []
    for name, evaluated in data.evaluation.items():
        if evaluated.optional and not all(exists(locate(data.folder, file)) for file in evaluated.source.files):
            _log.warning("evaluation set %s is not there and is left out", name)
            missing.append(name)
            continue
        judged[name], tallies[name] = sources.load_whole(evaluated.source, data.folder, seed)
    return judged, missing


def _refuse_empty(tables: Mapping[str, Table]) -> None:
    for name, rows in tables.items():
        if not rows.rows:
            msg = f"source {name!r} gives no row to train on"
            raise ConfigurationError(msg, field=f"data.sources.{name}")


def _reports(
    data: DataPart,
    tables: Mapping[str, Table],
    tallies: Mapping[str, Tally],
    lengths: Callable[[Sequence[str]], Sequence[int]] | None,
) -> dict[str, TableReport]:
    described: dict[str, TableReport] = {}
    known = data.sources | {name: evaluated.source for name, evaluated in data.evaluation.items()}
    for name, rows in tables.items():
        source = known[name.removesuffix(HELD_OUT)]
        about = {"files": list(source.files), "licence": source.licence, "origin": source.origin}
        described[name] = describe(rows, tallies.get(name, Tally()), lengths).model_copy(update=about)
    return described
