"""How the model was made: data with samples, values of every stage, the log, libraries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from munjang_trainer.card.markdown import cell, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from munjang_trainer.data.report import DataReport, TableReport
    from munjang_trainer.recipe.recipe import Recipe
    from munjang_trainer.recipe.stages import StagePart
    from munjang_trainer.training.record import TrainingRecord

LOG_LINES = 40


def training_data(report: DataReport) -> str:
    """The section on data."""
    parts = ["## Training data"]
    parts += [_source(name, source) for name, source in report.sources.items()]
    leaks = [
        f"- {leak.rows} rows of {leak.source} held texts of {leak.evaluation}"
        f" ({'dropped' if report.request['data']['leaks'] == 'drop' else 'kept'})"
        for leak in report.leaks
    ]
    parts.append("Texts shared with evaluation sets, compared without case, spaces and punctuation:")
    parts.append("\n".join(leaks) or "none.")
    parts.append(f"Fingerprint of all training rows: `{report.fingerprint}`.")
    return "\n\n".join(parts) + "\n"


def training_values(recipe: Recipe, record: TrainingRecord) -> str:
    """The section on hyperparameters."""
    parts = ["## Training"]
    parts.append(f"Seed {record.seed}; code {record.code_version}; {record.machine}.")
    steps = {stage.name: stage for stage in record.stages}
    for stage in recipe.stages:
        done = steps[stage.name]
        kept = f", weights of step {done.kept_step} kept" if done.kept_step != done.steps else ""
        parts.append(f"### Stage {stage.name}: {done.steps} steps{kept}\n\n{_values(stage)}")
    return "\n\n".join(parts) + "\n"


def training_log(entries: Sequence[Mapping[str, Any]]) -> str:
    """The section with losses and figures; thinned out where it is long."""
    stride = max(1, -(-len(entries) // LOG_LINES))
    shown = [entry for number, entry in enumerate(entries) if number % stride == 0 or _has_figures(entry)]
    figures = sorted({key for entry in shown for key in entry if _is_main(key)})
    header = ["stage", "epoch", "step", "training loss", *(key.removeprefix("eval_") for key in figures)]
    rows = [
        [e["stage"], f"{e['epoch']:.2f}", e["step"], e.get("loss", ""), *(e.get(key, "") for key in figures)]
        for e in shown
    ]
    return f"### Log\n\n{table(header, rows)}\n"


def frameworks(record: TrainingRecord) -> str:
    """The section on versions."""
    return "### Framework versions\n\n" + "\n".join(f"- {name} {v}" for name, v in record.libraries.items()) + "\n"


def _source(name: str, source: TableReport) -> str:
    origin = f"{source.origin or 'unknown origin'}, {source.licence or 'licence not stated'}"
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in source.dropped.items())
    lengths = source.tokens or source.characters
    unit = "tokens" if source.tokens else "characters"
    spreads = [[column, s.least, f"{s.mean:.2f}", s.most] for column, s in lengths.items()]
    samples = ["- " + " · ".join(cell(value) for value in sample) for sample in source.samples]
    return "\n\n".join(
        [
            f"### {name}: {source.rows:,} {source.kind}",
            f"{', '.join(source.files)} ({origin}); {source.read:,} rows read"
            + (f"; dropped: {dropped}." if dropped else "."),
            table([unit, "least", "mean", "most"], spreads),
            "Samples:\n\n" + "\n".join(samples),
        ]
    )


def _values(stage: StagePart) -> str:
    content = stage.model_dump(mode="json", exclude={"name", "datasets"})
    rows = [[f"`{name}`", f"`{json.dumps(value)}`"] for name, value in content.items()]
    losses = [
        f"- {name}: " + ", ".join(f"`{key}` {json.dumps(value)}" for key, value in part.items() if value is not None)
        for name, part in stage.model_dump(mode="json")["datasets"].items()
    ]
    return "\n".join(losses) + "\n\n" + table(["value", ""], rows)


def _has_figures(entry: Mapping[str, Any]) -> bool:
    return any(_is_main(key) for key in entry)


def _is_main(key: str) -> bool:
    return key.startswith("eval_") and key.endswith((".cosine_spearman", ".accuracy", ".mrr"))
