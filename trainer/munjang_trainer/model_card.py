"""The model card (README.md): front matter for model hubs, evaluation, training data and values, usage, citations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

from munjang.errors import ConfigurationError
from munjang_trainer.data.prepare import read_report
from munjang_trainer.model.base import RANDOM, full_base_name, load_model
from munjang_trainer.output_files import write_atomically
from munjang_trainer.training.callbacks import read_journal
from munjang_trainer.training.stage import JOURNAL, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from munjang_trainer.data.prepare import DataReport, TableReport
    from munjang_trainer.evaluation.results import Results, SetResult
    from munjang_trainer.gate import GateResult
    from munjang_trainer.recipe.schema import Recipe, StageConfig
    from munjang_trainer.training.run import TrainingRecord


METRIC_NAMES = {
    "cosine_spearman": "Spearman of cosines",
    "cosine_pearson": "Pearson of cosines",
    "accuracy": "accuracy",
    "mrr": "MRR",
}


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
        usage(recipe),
        evaluation(verdict, report.missing),
        _use_and_limits(recipe, report),
        training_data(report),
        training_values(recipe, record),
        training_log(read_journal(run / JOURNAL)),
        frameworks(record),
        citations(recipe),
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


ABOUT = {
    "sts": "rank and linear correlation of similarities with people's scores",
    "triplets": "share of triplets whose positive is nearer to the anchor than the contradiction",
    "groups": "searching the paraphrases of each text among all texts of the set",
}


def evaluation(verdict: GateResult, missing: Sequence[str]) -> str:
    """The section on evaluation."""
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
        parts.append(_against(verdict))
    parts.append(_cost(results))
    return "\n\n".join(parts) + "\n"


def _one_set(name: str, result: SetResult) -> str:
    forms: dict[str, dict[str, float]] = {}
    for key, value in result.figures.items():
        form, _, figure = key.rpartition(".")
        forms.setdefault(form, {})[figure] = value
    columns = list(forms[""])
    rows = [[form or "float32", *(figures.get(column, "") for column in columns)] for form, figures in forms.items()]
    low, high = result.interval.low, result.interval.high
    about = f"{result.rows:,} rows: {ABOUT[result.kind]}. {result.main} {result.interval.value:.4f}"
    return f"### {name}\n\n{about} ({low:.4f} to {high:.4f}).\n\n{table(['form', *columns], rows)}"


def _against(verdict: GateResult) -> str:
    comparison = verdict.comparison
    if comparison is None:
        return ""
    first, second = comparison.first.main(), comparison.second.main()
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
    return key.startswith("eval_") and key.endswith((".cosine_spearman", ".accuracy", ".mrr"))


def usage(recipe: Recipe) -> str:
    """The section on usage."""
    prompt = recipe.model.prompt
    remark = (
        f"The prompt `{prompt}` is put before every text unless another is named: the model was trained with it."
        if prompt
        else "No prompt is needed."
    )
    return f"""## Usage

Over gRPC, with munjang's client; the reply says which version made the vectors:

```python
from munjang.client import Client

with Client("127.0.0.1:50051") as client:
    reply = client.encode(["한 남자가 드럼을 치고 있다.", "남자가 음악을 연주하고 있다."])
    print(reply.version, reply.vectors.shape)
    scores = client.similarity(["한 남자가 드럼을 치고 있다."], ["남자가 음악을 연주하고 있다."])
```

Vectors of different versions do not mix: name a version (`version=7`) where you keep vectors. On the command line:
`munjang encode "한 남자가 드럼을 치고 있다."`. Without munjang: `SentenceTransformer(folder).encode(texts)`.

{remark}
"""


_SBERT = """@inproceedings{reimers-2019-sentence-bert,
  title = "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
  author = "Reimers, Nils and Gurevych, Iryna", booktitle = "EMNLP", year = "2019",
  url = "https://arxiv.org/abs/1908.10084" }"""

_E5 = """@article{wang-2024-multilingual-e5,
  title = "Multilingual E5 Text Embeddings: A Technical Report",
  author = "Wang, Liang and Yang, Nan and Huang, Xiaolong and Yang, Linjun and Majumder, Rangan and Wei, Furu",
  year = "2024", url = "https://arxiv.org/abs/2402.05672" }"""

_KLUE = """@article{park-2021-klue,
  title = "KLUE: Korean Language Understanding Evaluation", author = "Park, Sungjoon and others",
  year = "2021", url = "https://arxiv.org/abs/2105.09680" }"""

_KORNLU = """@article{ham-2020-kornli,
  title = "KorNLI and KorSTS: New Benchmark Datasets for Korean Natural Language Understanding",
  author = "Ham, Jiyeon and Choe, Yo Joong and Park, Kyubyong and Choi, Ilji and Soh, Hyungjoon",
  year = "2020", url = "https://arxiv.org/abs/2004.03289" }"""

_PARAKQC = """@article{cho-2019-parakqc,
  title = "Discourse Component to Sentence (DC2S): An Efficient Human-Aided Construction of Paraphrase and Sentence
           Similarity Dataset", author = "Cho, Won Ik and others", year = "2020" }"""

_LOSSES = {
    "mnrl": """@article{henderson-2017-efficient,
  title = "Efficient Natural Language Response Suggestion for Smart Reply", author = "Henderson, Matthew and others",
  year = "2017", url = "https://arxiv.org/abs/1705.00652" }""",
    "cached-mnrl": """@article{gao-2021-scaling,
  title = "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
  author = "Gao, Luyu and Zhang, Yunyi and Han, Jiawei and Callan, Jamie", year = "2021",
  url = "https://arxiv.org/abs/2101.06983" }""",
    "cosent": """@online{su-2022-cosent,
  title = "CoSENT: A more efficient sentence vector scheme than Sentence-BERT", author = "Su, Jianlin", year = "2022",
  url = "https://kexue.fm/archives/8847" }""",
    "distill": """@article{kim-2023-embeddistill,
  title = "EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval",
  author = "Kim, Seungyeon and others", year = "2023", url = "https://arxiv.org/abs/2301.12005" }""",
}

_MATRYOSHKA = """@inproceedings{kusupati-2022-matryoshka,
  title = "Matryoshka Representation Learning", author = "Kusupati, Aditya and others", booktitle = "NeurIPS",
  year = "2022", url = "https://arxiv.org/abs/2205.13147" }"""

_LORA = """@article{hu-2021-lora,
  title = "LoRA: Low-Rank Adaptation of Large Language Models", author = "Hu, Edward J. and others", year = "2021",
  url = "https://arxiv.org/abs/2106.09685" }"""


def citations(recipe: Recipe) -> str:
    """The section with what this recipe used."""
    entries = "\n\n".join(dict.fromkeys(_used(recipe)))
    return f"## Citations\n\n```bibtex\n{entries}\n```\n"


def _used(recipe: Recipe) -> Iterable[str]:
    yield _SBERT
    base = recipe.model.base
    if base == "starter" or "e5" in base:
        yield _E5
    if base.startswith("klue/") or "klue-sts" in recipe.sets:
        yield _KLUE
    origins = {source.origin for source in recipe.data.sources.values()}
    origins |= {evaluated.source.origin for evaluated in recipe.data.evaluation.values()}
    if any("kor-nlu" in origin for origin in origins):
        yield _KORNLU
    if any("paraKQC" in origin for origin in origins):
        yield _PARAKQC
    for stage in recipe.stages:
        yield from (_LOSSES[part.loss] for part in stage.datasets.values() if part.loss in _LOSSES)
        if stage.matryoshka:
            yield _MATRYOSHKA
    if recipe.model.lora:
        yield _LORA


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first column is left-aligned, the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    lines = [header, rule, *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """A value in a cell: figures with four digits, no line ends, no borders."""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("\n", " ").replace("|", "\\|")
