"""Which sets to evaluate on: the standard ones that exist, prepared ones of a run, or files that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang_trainer.data.files import file_exists, resolve_address
from munjang_trainer.data.prepare import read_evaluation, read_report
from munjang_trainer.data.sources import load_evaluation_source
from munjang_trainer.recipe.load import parse
from munjang_trainer.recipe.schema import EvaluationSet, GroupsSource, SquadSource, StsSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.schema import FileSource

STANDARD: dict[str, FileSource] = {
    "korsts-dev": StsSource(kind="sts", files=("korsts/sts-dev.tsv",)),
    "korsts-test": StsSource(kind="sts", files=("korsts/sts-test.tsv",)),
    "klue-sts": StsSource(kind="sts", files=("klue/klue-sts-v1.1_dev.json",)),
    "parakqc": GroupsSource(kind="groups", files=("paraphrase/paraKQC_v1.txt",)),
    "korquad": SquadSource(kind="squad", files=("korquad/KorQuAD_v1.0_dev.json",)),
    "klue-mrc": SquadSource(kind="squad", files=("klue/klue-mrc-v1.1_dev.json",)),
}
"""Sets by name, below the data folder; those that are not there are passed over."""

SEED = 42


def standard_sets(folder: str) -> dict[str, Table]:
    """The standard sets that lie in a data folder."""
    return {
        name: load_evaluation_source(source, folder, SEED)[0]
        for name, source in STANDARD.items()
        if all(file_exists(resolve_address(folder, file)) for file in source.files)
    }


def prepared_sets(folder: Path) -> dict[str, Table]:
    """The sets that `prepare` wrote into a folder, or into the `data` folder of a run.

    Raises:
        ConfigurationError: there are none.
    """
    return read_evaluation(folder if read_report(folder) else folder / "data")


def named_sets(folder: str, files: Mapping[str, Sequence[str]], encoding: str = "utf-8") -> dict[str, Table]:
    """Sets made of files, named after them.

    Args:
        folder: of relative file names.
        files: names by kind of source: `sts`, `nli` (triplets), `groups`, `squad`, and `beir`, which names folders.
        encoding: of text files.

    Raises:
        ConfigurationError: two files of one name, or one that cannot be read or holds nothing.
    """
    tables: dict[str, Table] = {}
    for kind, file in ((kind, file) for kind, named in files.items() for file in named):
        parts = _beir_files(folder, file) if kind == "beir" else (file,)
        content = {"source": {"kind": kind, "files": parts, "encoding": encoding}}
        source = parse(EvaluationSet, content, "what was asked for").source
        name = Path(file).stem
        if name in tables:
            msg = f"two files are named {name}: evaluate one after the other"
            raise ConfigurationError(msg, field="evaluation")
        tables[name] = load_evaluation_source(source, folder, SEED)[0]
        if not tables[name].rows:
            msg = f"{file} holds no row to evaluate on"
            raise ConfigurationError(msg, field="evaluation")
    return tables


BEIR_FILES = (
    ("corpus.jsonl", "corpus.jsonl.gz", "corpus.parquet"),
    ("queries.jsonl", "queries.jsonl.gz", "queries.parquet"),
    ("qrels/test.tsv", "qrels/dev.tsv", "qrels.tsv", "qrels/test.jsonl", "qrels.jsonl", "qrels.parquet"),
)
"""The files of a set in BEIR's layout, each under the first of these names that exists."""


def _beir_files(folder: str, name: str) -> tuple[str, ...]:
    found: list[str] = []
    for names in BEIR_FILES:
        addresses = [f"{name.rstrip('/')}/{file}" for file in names]
        there = next((address for address in addresses if file_exists(resolve_address(folder, address))), "")
        if not there:
            msg = f"{name} is no set in BEIR's layout: it has none of {', '.join(names)}"
            raise ConfigurationError(msg, field="beir")
        found.append(there)
    return tuple(found)
