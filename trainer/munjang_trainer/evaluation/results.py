"""The results of an evaluation: metrics by set, speed, size. JSON on disk."""

from __future__ import annotations

from pydantic import BaseModel

from munjang_trainer.evaluation.metrics import Interval  # noqa: TC001 - pydantic needs the type at run time


class Speed(BaseModel):
    """How fast the texts of the sets were encoded, on this machine, tokenising included."""

    texts: int
    tokens: int
    seconds: float
    texts_per_second: float
    tokens_per_second: float
    runtime: str
    compute_type: str


class Size(BaseModel):
    """How large a model is."""

    dimensions: int
    max_tokens: int
    parameters: int
    bytes_on_disk: int


class SetResult(BaseModel):
    """One set.

    Attributes:
        kind: what its rows are.
        rows: how many are judged; of a set that is searched, its queries.
        sha256: of its content: metrics of different contents must not be compared.
        main: the name of the metric that stands for it.
        interval: of that metric.
        figures: all metrics by name.
    """

    kind: str
    rows: int
    sha256: str
    main: str
    interval: Interval
    figures: dict[str, float]

    def by_format(self) -> dict[str, dict[str, float]]:
        """The metrics of each vector format by name; "" is the plain one, and the first."""
        formats: dict[str, dict[str, float]] = {}
        for key, value in self.figures.items():
            name, _, figure = key.rpartition(".")
            formats.setdefault(name, {})[figure] = value
        return formats


class Results(BaseModel):
    """One model on all sets."""

    model: str
    prompt: str
    finite: bool
    sets: dict[str, SetResult]
    speed: Speed
    size: Size

    def flat(self) -> dict[str, float]:
        """All metrics as `set.metric`."""
        return {f"{name}.{figure}": value for name, s in self.sets.items() for figure, value in s.figures.items()}

    def main(self) -> dict[str, float]:
        """The main metric of each set as `set.metric`."""
        return {f"{name}.{s.main}": s.interval.value for name, s in self.sets.items()}


class Comparison(BaseModel):
    """Two models on the same sets.

    Attributes:
        first, second: the results of both.
        differences: second minus first, of all metrics of the plain vectors, by `set.metric`, with the paired bootstrap
            interval.
        confidence: of all intervals.
    """

    first: Results
    second: Results
    differences: dict[str, Interval]
    confidence: float
