"""The metrics page of a server as numbers: what was counted between two looks, and what of it was of use. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

BATCH_TOKENS = "munjang_server_batch_tokens_sum"
COMPUTED_TOKENS = "munjang_server_computed_tokens_total"
DEAD_TOKENS = "munjang_server_wasted_tokens_total"


@dataclass(frozen=True)
class Page:
    """Samples: a series' name, its labels and its value."""

    samples: tuple[tuple[str, frozenset[tuple[str, str]], float], ...]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of a name that have these labels; 0 where there are none."""
        wanted = labels.items()
        return sum(value for found, has, value in self.samples if found == name and wanted <= has)


def parse(text: str) -> Page:
    """Read a page in Prometheus' text format."""
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return Page(tuple((sample.name, frozenset(sample.labels.items()), sample.value) for sample in samples))


def tokens(before: Page, after: Page, **labels: str) -> dict[str, float]:
    """What forwards between two pages came to.

    Returns:
        `real` tokens of texts, `computed` ones with padding, `padding` as a share of the computed ones, `dead` tokens
        of callers who had gone when their forward ended, and these as a share of the real ones (`dead_share`, of all
        lanes whatever the labels are).
    """
    real, computed = (
        after.total(name, **labels) - before.total(name, **labels) for name in (BATCH_TOKENS, COMPUTED_TOKENS)
    )
    dead = after.total(DEAD_TOKENS) - before.total(DEAD_TOKENS)
    return {
        "real": real,
        "computed": computed,
        "padding": 1 - real / computed if computed else 0.0,
        "dead": dead,
        "dead_share": dead / max(1.0, after.total(BATCH_TOKENS) - before.total(BATCH_TOKENS)),
    }
