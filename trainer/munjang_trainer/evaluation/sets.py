"""Which sets to evaluate on: the standard ones that exist, prepared ones of a run, or files that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang_trainer.data.files import file_exists, resolve_address
from munjang_trainer.data.prepare import read_evaluation, read_report
from munjang_trainer.data.sources import load_evaluation_source
from munjang_trainer.recipe.load import parse
from munjang_trainer.recipe.schema import EvaluationSet, StsSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_trainer.data.table import Table

STANDARD = {
    "korsts-dev": StsSource(kind="sts", files=("korsts/sts-dev.tsv",)),
    "korsts-test": StsSource(kind="sts", files=("korsts/sts-test.tsv",)),
    "klue-sts": StsSource(kind="sts", files=("klue/klue-sts-v1.1_dev.json",)),
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


def named_sets(
    folder: str, sts: Sequence[str], nli: Sequence[str], groups: Sequence[str], encoding: str = "utf-8"
) -> dict[str, Table]:
    """Sets made of files, named after them: scored pairs, inference pairs as triplets, paraphrase groups.

    Raises:
        ConfigurationError: two files of one name, or one that cannot be read or holds nothing.
    """
    content = [
        {"kind": kind, "files": (file,), "encoding": encoding}
        for kind, files in (("sts", sts), ("nli", nli), ("groups", groups))
        for file in files
    ]
    tables: dict[str, Table] = {}
    for each in content:
        source = parse(EvaluationSet, {"source": each}, "what was asked for").source
        name = Path(source.files[0]).stem
        if name in tables:
            msg = f"two files are named {name}: evaluate one after the other"
            raise ConfigurationError(msg, field="evaluation")
        tables[name] = load_evaluation_source(source, folder, SEED)[0]
        if not tables[name].rows:
            msg = f"{source.files[0]} holds no row to evaluate on"
            raise ConfigurationError(msg, field="evaluation")
    return tables
