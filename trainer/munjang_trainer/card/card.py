"""The whole card of a published model: README.md with the front matter that model hubs read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from munjang.errors import ConfigurationError
from munjang_trainer.card.citations import citations
from munjang_trainer.card.figures import evaluation
from munjang_trainer.card.making import frameworks, training_data, training_log, training_values
from munjang_trainer.card.usage import usage
from munjang_trainer.data.prepare import read_report
from munjang_trainer.model.base import RANDOM, full_base_name, load_model
from munjang_trainer.training.journal import read_journal
from munjang_trainer.training.stage import JOURNAL, MODEL
from munjang_trainer.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from munjang_trainer.data.report import DataReport
    from munjang_trainer.gate.verdict import Verdict
    from munjang_trainer.recipe.recipe import Recipe
    from munjang_trainer.training.record import TrainingRecord

METRIC_NAMES = {
    "cosine_spearman": "Spearman of cosines",
    "cosine_pearson": "Pearson of cosines",
    "accuracy": "accuracy",
    "mrr": "MRR",
}


def write_card(path: Path, run: Path, recipe: Recipe, record: TrainingRecord, verdict: Verdict) -> None:
    """Write the card of a run's model.

    Raises:
        ConfigurationError: the run's data report is gone.
    """
    report = read_report(run / "data")
    if report is None:
        msg = f"{run / 'data'} holds no report on the data"
        raise ConfigurationError(msg, field="run")
    sections = [
        _front(recipe, record, verdict),
        _head(recipe, record),
        _architecture(run / MODEL),
        usage(recipe),
        evaluation(verdict, report.missing),
        _use_and_limits(recipe, report),
        training_data(report),
        training_values(recipe, record),
        training_log(read_journal(run / JOURNAL)),
        frameworks(record),
        citations(recipe),
    ]
    write_whole(path, "\n".join(sections))


def _front(recipe: Recipe, record: TrainingRecord, verdict: Verdict) -> str:
    content = {
        "language": list(recipe.publish.languages),
        "license": recipe.publish.licence or "other",
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        **({} if record.base == RANDOM else {"base_model": full_base_name(record.base)}),
        "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "korean"],
        "model-index": [{"name": recipe.name, "results": _index(verdict)}],
    }
    return f"---\n{yaml.safe_dump(content, allow_unicode=True, sort_keys=False)}---\n"


def _index(verdict: Verdict) -> list[dict[str, object]]:
    sets = verdict.results.sets if verdict.results else {}
    return [
        {
            "task": {"type": "semantic-similarity"},
            "dataset": {"name": name, "type": name},
            "metrics": [
                {"type": figure, "value": round(result.figures[figure], 4), "name": label}
                for figure, label in METRIC_NAMES.items()
                if figure in result.figures
            ],
        }
        for name, result in sets.items()
    ]


def _head(recipe: Recipe, record: TrainingRecord) -> str:
    title = recipe.title or "a sentence-embedding model"
    return (
        f"# {recipe.name}\n\n{title}. Maps Korean sentences to vectors that are near each other where the sentences"
        f" mean the same. Made by munjang's trainer from `{full_base_name(record.base)}`.\n"
    )


def _architecture(folder: Path) -> str:
    model = load_model(folder)
    limit = model.max_seq_length
    return (
        f"## Architecture\n\n- at most {limit} tokens\n- {model.get_embedding_dimension()} dimensions\n- similarity:"
        f" {model.similarity_fn_name}\n\n```\n{model}\n```\n"
    )


def _use_and_limits(recipe: Recipe, report: DataReport) -> str:
    licences = sorted({f"{s.origin or name}: {s.licence or 'not stated'}" for name, s in report.sources.items()})
    return "\n\n".join(
        [
            "## Intended use and limits",
            recipe.publish.intended_use or "Comparing sentences by meaning.",
            recipe.publish.limits or "Nobody has stated its limits: measure it on your own texts.",
            "Licences of the training data:",
            "\n".join(f"- {licence}" for licence in licences) + "\n",
        ]
    )
