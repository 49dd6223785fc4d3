"""The `data` part of a recipe: which files, what each holds, and what is held out of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from munjang_trainer.recipe.base import Fraction, Name, NotNegative, Part, Positive

Leaks = Literal["fail", "drop", "allow"]


class HoldOut(Part):
    """A part of a source that is kept out of training and evaluated instead.

    Rows that share a text stay together. Either a `fraction`, or fold number `fold` of `folds` equal ones, for
    cross-validation. The same seed holds out the same rows.
    """

    fraction: Fraction = 0.0
    folds: NotNegative = 0
    fold: NotNegative = 0

    @model_validator(mode="after")
    def _one_way(self) -> HoldOut:
        if bool(self.fraction) == bool(self.folds):
            msg = "hold_out takes either a fraction above 0 or a number of folds"
            raise ValueError(msg)
        if self.folds == 1 or (self.folds and self.fold >= self.folds):
            msg = f"fold {self.fold} of {self.folds} does not exist: at least 2 folds, counted from 0"
            raise ValueError(msg)
        return self


class _Source(Part):
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    hold_out: HoldOut | None = None
    licence: str = ""
    origin: str = ""


class NliSource(_Source):
    """Tab-separated inference pairs (KorNLI) that become triples (anchor, positive, negative).

    `keep_empty` keeps rows with an empty sentence, as the reference's reader did.
    """

    kind: Literal["nli"]
    keep_empty: bool = False


class StsSource(_Source):
    """Sentence pairs with a score: a table with a header (KorSTS or any other), or KLUE-STS's JSON.

    Scores are divided by `max_score`; the columns are found by these names.
    """

    kind: Literal["sts"]
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "score")
    max_score: Annotated[float, Field(gt=0)] = 5.0


class GroupsSource(_Source):
    """Groups of paraphrases (paraKQC): lines without a header, one text a line, `group_size` lines a group.

    Every group gives `pairs_per_group` pairs for training; held out, all its texts are searched for each other.
    """

    kind: Literal["groups"]
    text_column: NotNegative = 2
    group_size: Positive = 10
    pairs_per_group: Positive = 10


class PairsSource(_Source):
    """Pairs of like texts: a comma- or tab-separated table with a header.

    With `label`, only rows whose label column holds `same` are pairs. (In songys/Question_pair, `is_duplicate` is 0 for
    pairs of like meaning and 1 for others.)
    """

    kind: Literal["pairs"]
    columns: tuple[str, str] = ("question1", "question2")
    label: str = ""
    same: str = "1"


class TripletsSource(_Source):
    """Ready triples: a tab- or comma-separated table, or Parquet, with these columns."""

    kind: Literal["triplets"]
    columns: tuple[str, str, str] = ("anchor", "positive", "negative")


Source = Annotated[
    NliSource | StsSource | GroupsSource | PairsSource | TripletsSource,
    Field(discriminator="kind"),
]


class Evaluated(Part):
    """One evaluation set: a source that is read whole; `optional` if it may be missing."""

    source: Source
    optional: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Evaluated:
        if self.source.hold_out:
            msg = "an evaluation set is read whole: hold_out belongs to data.sources"
            raise ValueError(msg)
        return self


class DataPart(Part):
    """Training sources by name, and evaluation sets by name.

    Attributes:
        folder: where relative file names begin: a folder or an fsspec URL; --data and MUNJANG_DATA overrule it.
        sources: what is trained on; a source with `hold_out` gives an evaluation set `<name>-held-out`.
        evaluation: what is only measured.
        leaks: what happens where a training row holds a text of an evaluation set: `fail` ends the run, `drop` leaves
            such rows out of training, `allow` only reports them.
    """

    folder: str = "."
    sources: dict[Name, Source] = Field(default_factory=dict)
    evaluation: dict[Name, Evaluated] = Field(default_factory=dict)
    leaks: Leaks = "fail"
