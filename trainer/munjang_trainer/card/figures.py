"""The card's figures: every set in every form, what was not at hand, speed and size, against the version before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang_trainer.card.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_trainer.evaluation.results import Results, SetResult
    from munjang_trainer.gate.verdict import Verdict

ABOUT = {
    "sts": "rank and linear correlation of similarities with people's scores",
    "triplets": "share of triplets whose positive is nearer to the anchor than the contradiction",
    "groups": "searching the paraphrases of each text among all texts of the set",
}


def evaluation(verdict: Verdict, missing: Sequence[str]) -> str:
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


def _against(verdict: Verdict) -> str:
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
