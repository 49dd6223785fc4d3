"""The model card (README.md): front matter for model hubs, evaluation, training data and values, usage, citations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from munjang.errors import ConfigurationError
from munjang_trainer.data.prepare import read_report
from munjang_trainer.evaluation.metrics import MAIN_METRIC
from munjang_trainer.model.base import RANDOM, full_base_name, load_model
from munjang_trainer.output_files import MODEL, write_atomically
from munjang_trainer.recipe.schema import TransformConfig
from munjang_trainer.training.callbacks import read_journal
from munjang_trainer.training.stage import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from munjang_trainer.data.prepare import DataReport, TableReport
    from munjang_trainer.evaluation.results import Comparison, Results, SetResult
    from munjang_trainer.gate import GateResult
    from munjang_trainer.recipe.schema import Recipe, StageConfig
    from munjang_trainer.training.run import TrainingRecord


USAGE = Path(__file__).with_name("usage.md")
BIBLIOGRAPHY = Path(__file__).with_name("citations.bib")
CITED_DATA = {"kor-nlu": "ham-2020-kornli", "paraKQC": "cho-2019-parakqc"}
CITED_LOSSES = {
    "mnrl": "henderson-2017-efficient",
    "cached-mnrl": "gao-2021-scaling",
    "cosent": "su-2022-cosent",
    "distill": "kim-2023-embeddistill",
    "gist": "solatorio-2024-gistembed",
    "margin-mse": "hofstatter-2020-improving",
}

METRIC_NAMES = {
    "cosine_spearman": "Spearman of cosines",
    "cosine_pearson": "Pearson of cosines",
    "accuracy": "accuracy",
    "ndcg@10": "nDCG@10",
    "recall@1": "recall@1",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
}
TASKS = {"sts": "semantic-similarity", "triplets": "triplet", "groups": "information-retrieval"}
TASKS["retrieval"] = "information-retrieval"
"""The task of a set's kind, as model hubs name it."""


def write_card(path: Path, run: Path, recipe: Recipe, record: TrainingRecord, verdict: GateResult) -> None:
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
        _usage(recipe),
        _evaluation(verdict, report.missing),
        _use_and_limits(recipe, report),
        _training_data(report),
        _training_values(recipe, record),
        _training_log(read_journal(run / JOURNAL)),
        _frameworks(record),
        _citations(recipe),
    ]
    write_atomically(path, "\n".join(sections))


def _front(recipe: Recipe, record: TrainingRecord, verdict: GateResult) -> str:
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


def _index(verdict: GateResult) -> list[dict[str, object]]:
    sets = verdict.results.sets if verdict.results else {}
    return [
        {
            "task": {"type": TASKS[result.kind]},
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


ABOUT = {
    "sts": "rank and linear correlation of similarities with people's scores",
    "triplets": "share of triplets whose positive is nearer to the anchor than the contradiction",
    "groups": "searching the paraphrases of each text among all texts of the set",
    "retrieval": "searching the documents that answer each query, with the prompts of their roles",
}


def _evaluation(verdict: GateResult, missing: Sequence[str]) -> str:
    results = verdict.results
    if results is None:
        return "## Evaluation\n\nThe model could not be measured.\n"
    parts = [
        "## Evaluation",
        "Measured on the saved model, loaded in a fresh process, in float32 unless said otherwise.",
    ]
    parts += [_one_set(name, result) for name, result in results.sets.items()]
    if missing:
        parts.append(f"Not measured, because the data was not at hand: {', '.join(missing)}.")
    if verdict.comparison:
        parts.append(_against(verdict.comparison))
    parts.append(_cost(results))
    return "\n\n".join(parts) + "\n"


def _one_set(name: str, result: SetResult) -> str:
    forms = result.by_format()
    columns = list(forms[""])
    rows = [[form or "float32", *(figures.get(column, "") for column in columns)] for form, figures in forms.items()]
    low, high = result.interval.low, result.interval.high
    about = f"{result.rows:,} rows: {ABOUT[result.kind]}. {result.main} {result.interval.value:.4f}"
    return f"### {name}\n\n{about} ({low:.4f} to {high:.4f}).\n\n{table(['form', *columns], rows)}"


def _against(comparison: Comparison) -> str:
    first, second = comparison.first.flat(), comparison.second.flat()
    rows = [
        [name, first[name], second[name], f"{change.value:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}"]
        for name, change in comparison.differences.items()
    ]
    header = ["figure", comparison.first.model, "this model", "difference", f"{comparison.confidence:.0%} interval"]
    return f"### Against {comparison.first.model}\n\n{table(header, rows)}"


def _cost(results: Results) -> str:
    speed, size = results.speed, results.size
    return (
        f"### Speed and size\n\n{size.parameters / 1e6:.1f} million parameters, {size.bytes_on_disk / 1e6:.0f} MB,"
        f" {size.dimensions} dimensions, at most {size.max_tokens} tokens. The sets' {speed.texts:,} texts took"
        f" {speed.seconds:.1f} s: {speed.texts_per_second:,.0f} texts/s, {speed.tokens_per_second:,.0f} tokens/s"
        f" ({speed.runtime}, {speed.compute_type}, on the machine below)."
    )


LOG_LINES = 40


def _training_data(report: DataReport) -> str:
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


def _training_values(recipe: Recipe, record: TrainingRecord) -> str:
    parts = ["## Training"]
    parts.append(f"Seed {record.seed}; code {record.code_version}; {record.machine}.")
    steps = {stage.name: stage for stage in record.stages}
    for stage in recipe.stages:
        done = steps[stage.name]
        if isinstance(stage, TransformConfig):
            change = stage.model_dump(mode="json", exclude={"name"}, exclude_none=True, by_alias=True)
            parts.append(f"### Stage {stage.name}, without training\n\n- `{json.dumps(change)}`")
            continue
        kept = f", weights of step {done.kept_step} kept" if done.kept_step != done.steps else ""
        parts.append(f"### Stage {stage.name}: {done.steps} steps{kept}\n\n{_values(stage)}")
    return "\n\n".join(parts) + "\n"


def _training_log(entries: Sequence[Mapping[str, Any]]) -> str:
    stride = max(1, -(-len(entries) // LOG_LINES))
    shown = [entry for number, entry in enumerate(entries) if number % stride == 0 or _has_figures(entry)]
    figures = sorted({key for entry in shown for key in entry if _is_main(key)})
    header = ["stage", "epoch", "step", "training loss", *(key.removeprefix("eval_") for key in figures)]
    rows = [
        [e["stage"], f"{e['epoch']:.2f}", e["step"], e.get("loss", ""), *(e.get(key, "") for key in figures)]
        for e in shown
    ]
    return f"### Log\n\n{table(header, rows)}\n"


def _frameworks(record: TrainingRecord) -> str:
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


def _values(stage: StageConfig) -> str:
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
    return key.startswith("eval_") and key.endswith(tuple(f".{metric}" for metric in MAIN_METRIC.values()))


def _usage(recipe: Recipe) -> str:
    prompt = recipe.model.prompt
    remark = "No prompt is needed."
    if prompt:
        remark = (
            f"The prompt `{prompt}` is put before every text unless another is named: the model was trained with it."
        )
    return f"{USAGE.read_text('utf-8')}\n{remark}\n"


def _citations(recipe: Recipe) -> str:
    """The section that cites, in BibTeX, the methods and data that the recipe used."""
    entries = {
        entry.partition("{")[2].partition(",")[0]: entry
        for entry in BIBLIOGRAPHY.read_text("utf-8").strip().split("\n\n")
    }
    used = "\n\n".join(dict.fromkeys(entries[key] for key in _used(recipe)))
    return f"## Citations\n\n```bibtex\n{used}\n```\n"


def _used(recipe: Recipe) -> Iterable[str]:
    yield "reimers-2019-sentence-bert"
    base = recipe.model.base
    if base == "starter" or "e5" in base:
        yield "wang-2024-multilingual-e5"
    if base.startswith("klue/") or "klue-sts" in recipe.sets:
        yield "park-2021-klue"
    origins = {source.origin for source in recipe.data.sources.values()}
    origins |= {evaluated.source.origin for evaluated in recipe.data.evaluation.values()}
    for part, key in CITED_DATA.items():
        if any(part in origin for origin in origins):
            yield key
    for stage in recipe.trainings:
        yield from (CITED_LOSSES[part.loss] for part in stage.datasets.values() if part.loss in CITED_LOSSES)
        if stage.matryoshka:
            yield "kusupati-2022-matryoshka"
    if recipe.model.lora:
        yield "hu-2021-lora"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first column is left-aligned, the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    lines = [header, rule, *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """A value in a cell: figures with four digits, no line ends, no borders."""
    text = f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
    return text.replace("\n", " ").replace("|", "\\|")
