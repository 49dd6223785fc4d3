"""Prepares data: sources and evaluation sets of a recipe become a folder of Parquet files with a report."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from munjang.errors import ConfigurationError
from munjang_trainer.data.documents import make_documents
from munjang_trainer.data.files import RowCounts, file_exists, file_state, read_lines, resolve_address
from munjang_trainer.data.leakage import Known, Leak, refuse, text_hash
from munjang_trainer.data.sources import load_evaluation_source, load_source
from munjang_trainer.data.table import read_table_file
from munjang_trainer.output_files import DATA_MARKER, claim_output, write_atomically
from munjang_trainer.recipe.schema import DocumentsSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.schema import DataConfig

    TokenCounter: TypeAlias = Callable[[Sequence[str]], Sequence[int]]


REFERENCE_BATCH = 64
SAMPLES = 3
MEASURED_ROWS = 10_000
"""Lengths are measured on this many rows, evenly spread: precise to two digits, and quick on a million rows."""


class Spread(BaseModel):
    """The least, mean and greatest length of a text column."""

    least: int
    mean: float
    most: int


class TableReport(BaseModel):
    """One table: where it came from and what is in it.

    Attributes:
        kind: what a row is.
        files: the files as the recipe names them.
        licence, origin: of the data, as the recipe says.
        read: rows read from the files.
        dropped: rows left out, by reason.
        rows: rows of the table.
        in_whole_batches: rows that fill whole batches of 64, which is the count that the reference's card reports.
        characters, tokens: lengths by text column; tokens only if a tokenizer was at hand.
        samples: the first rows.
        sha256: the hash of the content.
    """

    kind: str
    files: list[str] = []
    licence: str = ""
    origin: str = ""
    read: int = 0
    dropped: dict[str, int] = {}
    rows: int
    in_whole_batches: int
    characters: dict[str, Spread] = {}
    tokens: dict[str, Spread] = {}
    samples: list[list[Any]] = []
    sha256: str


class DataReport(BaseModel):
    """The report on all that was prepared; it is written last, so it marks a complete folder."""

    request: dict[str, Any] = {}
    seed: int
    sources: dict[str, TableReport]
    evaluation: dict[str, TableReport]
    missing: list[str] = []
    leaks: list[Leak] = []

    @property
    def fingerprint(self) -> str:
        """One hash over the content of everything that is trained on."""
        lines = [f"{name} {report.sha256}" for name, report in sorted(self.sources.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _spreads(table: Table, lengths: TokenCounter) -> dict[str, Spread]:
    if not table.rows:
        return {}
    rows = table.rows[:: max(1, len(table.rows) // MEASURED_ROWS)]
    spreads: dict[str, Spread] = {}
    for position in table.text_columns:
        counts = lengths([row[position] for row in rows])
        mean = round(sum(counts) / len(counts), 2)
        spreads[table.columns[position]] = Spread(least=min(counts), mean=mean, most=max(counts))
    return spreads


REPORT = "report.json"
HASH = re.compile(r"[0-9a-f]{64}")
HELD_OUT = "-held-out"

_log = logging.getLogger(__name__)


def prepare(data: DataConfig, seed: int, output: Path, lengths: TokenCounter | None = None) -> DataReport:
    """Prepare data into `output`, or return the report that is there if it answers the same request.

    Args:
        data: what to read; file names are relative to its folder.
        seed: of every random choice.
        output: the folder to write; `<source>.parquet` and `evaluation/<set>.parquet` and, last, report.json.
        lengths: counts the tokens of texts, for the report.

    Raises:
        ConfigurationError: a file cannot be read, or a source gives no row.
        FolderTaken: the output folder holds what `prepare` did not make.
        DataLeak: training rows hold texts of an evaluation set, and `data.leaks` is `fail`.
    """
    standing = read_report(output)
    if standing is None:
        claim_output(output, DATA_MARKER)
    request = {"data": data.model_dump(mode="json"), "seed": seed, "files": _states(data)}
    if standing and standing.request == request:
        return standing
    (output / REPORT).unlink(missing_ok=True)
    report = _prepare(data, seed, output, lengths).model_copy(update={"request": request})
    write_atomically(output / REPORT, report.model_dump_json(indent=2))
    return report


def read_report(folder: Path) -> DataReport | None:
    """The report of a folder that was prepared completely, or None."""
    try:
        return DataReport.model_validate_json((folder / REPORT).read_bytes())
    except (OSError, ValueError):
        return None


def read_sources(folder: Path) -> dict[str, Table]:
    """The tables to train on, by source."""
    report = _need(folder)
    return {name: read_table_file(folder / f"{name}.parquet") for name in report.sources}


def read_evaluation(folder: Path) -> dict[str, Table]:
    """The tables to evaluate on, by set."""
    report = _need(folder)
    return {name: read_table_file(folder / "evaluation" / f"{name}.parquet") for name in report.evaluation}


def write_hashes(folder: Path, target: Path) -> int:
    """Write the hashes of all texts of a prepared folder's evaluation sets, one per line; returns how many."""
    hashes = {text_hash(text) for table in read_evaluation(folder).values() for text in table.texts() if text}
    write_atomically(target, "".join(f"{line}\n" for line in sorted(hashes)))
    return len(hashes)


def _read_hashes(data: DataConfig, file: str) -> frozenset[str]:
    lines = frozenset(line.strip() for line in read_lines(resolve_address(data.folder, file)) if line.strip())
    if wrong := next((line for line in lines if not HASH.fullmatch(line)), None):
        msg = f"{file} holds {wrong[:80]!r}, which is no sha256 in hexadecimal"
        raise ConfigurationError(msg, field="data.hashes")
    return lines


def _need(folder: Path) -> DataReport:
    report = read_report(folder)
    if report is None:
        msg = f"{folder} holds no prepared data: run `munjang train prepare` first"
        raise ConfigurationError(msg, field="data")
    return report


def _states(data: DataConfig) -> dict[str, str]:
    """A value that changes if one of the files does."""
    used = [*data.sources.values(), *(evaluated.source for evaluated in data.evaluation.values())]
    files = [*(file for source in used for file in source.files), *data.hashes]
    return {file: file_state(resolve_address(data.folder, file)) for file in files}


def _prepare(data: DataConfig, seed: int, output: Path, lengths: TokenCounter | None) -> DataReport:
    read = {name: s for name, s in data.sources.items() if not isinstance(s, DocumentsSource)}
    loaded = {name: load_source(source, data.folder, seed) for name, source in read.items()}
    trained = {name: found.train for name, found in loaded.items()}
    counts_by_name = {name: found.counts for name, found in loaded.items()}
    judged, missing = _evaluation(data, seed, counts_by_name)
    for name, found in loaded.items():
        if found.held_out.rows:
            judged[name + HELD_OUT] = found.held_out
    known = Known(judged, {PurePosixPath(file).stem: _read_hashes(data, file) for file in data.hashes})
    found_leaks = known.leaks(trained)
    if data.leaks == "fail":
        refuse(found_leaks)
    for leak in found_leaks if data.leaks == "drop" else ():
        clean = known.without(trained[leak.source])
        dropped = len(trained[leak.source].rows) - len(clean.rows)
        counts_by_name[leak.source].dropped["text of an evaluation set"] += dropped
        trained[leak.source] = clean
    made = {name: s for name, s in data.sources.items() if isinstance(s, DocumentsSource)}
    trained |= {name: make_documents([trained[other] for other in s.of], s, seed) for name, s in made.items()}
    for name, rows in trained.items():
        if not rows.rows:
            msg = f"source {name!r} gives no row to train on"
            raise ConfigurationError(msg, field=f"data.sources.{name}")
    for name, rows in trained.items():
        rows.write(output / f"{name}.parquet")
    for name, rows in judged.items():
        rows.write(output / "evaluation" / f"{name}.parquet")
    return DataReport(
        seed=seed,
        sources=_reports(data, trained, counts_by_name, lengths),
        evaluation=_reports(data, judged, counts_by_name, lengths),
        missing=missing,
        leaks=found_leaks,
    )


def _evaluation(
    data: DataConfig, seed: int, counts_by_name: dict[str, RowCounts]
) -> tuple[dict[str, Table], list[str]]:
    judged: dict[str, Table] = {}
    missing: list[str] = []
    for name, evaluated in data.evaluation.items():
        addresses = [resolve_address(data.folder, file) for file in evaluated.source.files]
        if evaluated.optional and not all(map(file_exists, addresses)):
            _log.warning("evaluation set %s is not there and is left out", name)
            missing.append(name)
            continue
        judged[name], counts_by_name[name] = load_evaluation_source(evaluated.source, data.folder, seed)
    return judged, missing


def _reports(
    data: DataConfig,
    tables: Mapping[str, Table],
    counts_by_name: Mapping[str, RowCounts],
    lengths: TokenCounter | None,
) -> dict[str, TableReport]:
    reports: dict[str, TableReport] = {}
    known = data.sources | {name: evaluated.source for name, evaluated in data.evaluation.items()}
    for name, table in tables.items():
        source, counts = known[name.removesuffix(HELD_OUT)], counts_by_name.get(name, RowCounts())
        reports[name] = TableReport(
            kind=table.kind,
            files=list(source.files),
            licence=source.licence,
            origin=source.origin,
            read=counts.read,
            dropped=dict(sorted(counts.dropped.items())),
            rows=len(table.rows),
            in_whole_batches=len(table.rows) // REFERENCE_BATCH * REFERENCE_BATCH,
            characters=_spreads(table, lambda texts: [len(text) for text in texts]),
            tokens=_spreads(table, lengths) if lengths else {},
            samples=[list(row) for row in table.rows[:SAMPLES]],
            sha256=table.fingerprint(),
        )
    return reports
