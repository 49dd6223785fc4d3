"""A recipe: everything that makes a model, in one validated file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from munjang_trainer.recipe.base import Name, NotNegative, Part
from munjang_trainer.recipe.data import DataPart  # noqa: TC001 - pydantic needs the type at run time
from munjang_trainer.recipe.judge import EvaluationPart, GatePart, PublishPart
from munjang_trainer.recipe.model import ModelPart  # noqa: TC001 - pydantic needs the type at run time
from munjang_trainer.recipe.stages import LOSSES, StagePart

_KIND_OF_TABLE = {"nli": "triplets", "triplets": "triplets", "groups": "pairs", "pairs": "pairs", "sts": "sts"}


class Recipe(Part):
    """How a model is made.

    Attributes:
        name: names the run's folder, and the recipe in the manifest.
        title: one line for people.
        seed: of every random choice.
        threads: CPU threads; 0 leaves torch's own choice.
    """

    name: Name
    title: str = ""
    seed: NotNegative = 42
    threads: NotNegative = 0
    model: ModelPart
    data: DataPart
    stages: Annotated[tuple[StagePart, ...], Field(min_length=1)]
    evaluation: EvaluationPart = EvaluationPart()
    gate: GatePart = GatePart()
    publish: PublishPart = PublishPart()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            msg = f"stages need different names, not {', '.join(names)}"
            raise ValueError(msg)
        for stage in self.stages:
            self._check_datasets(stage)
            self._check_sets((stage.watch,) if stage.watch else ())
        self._check_sets((*self.gate.metrics, *self.gate.minimum))
        self._check_sets(tuple(f"{name}." for name in self.evaluation.during_training))
        for stage in self.stages:
            if stage.watch and stage.watch.partition(".")[0] not in self.evaluation.during_training:
                msg = f"{stage.watch!r} is watched, but its set is not in evaluation.during_training"
                raise ValueError(msg)
        return self

    @property
    def sets(self) -> frozenset[str]:
        """The names of all evaluation sets."""
        held_out = {f"{name}-held-out" for name, source in self.data.sources.items() if source.hold_out}
        return frozenset(self.data.evaluation) | held_out

    def _check_datasets(self, stage: StagePart) -> None:
        for name, dataset in stage.datasets.items():
            source = self.data.sources.get(name)
            if source is None:
                msg = f"stage {stage.name!r} uses {name!r}, which is not among data.sources"
                raise ValueError(msg)
            kind = _KIND_OF_TABLE[source.kind]
            if dataset.loss not in LOSSES[kind]:
                msg = f"{name!r} gives {kind}, which take the losses {', '.join(LOSSES[kind])}, not {dataset.loss}"
                raise ValueError(msg)
            if dataset.mine and kind != "pairs":
                msg = f"{name!r} gives {kind}: negatives are mined for pairs only"
                raise ValueError(msg)

    def _check_sets(self, figures: tuple[str, ...]) -> None:
        for figure in figures:
            name, dot, _ = figure.partition(".")
            if name not in self.sets or not dot:
                msg = f"{figure!r} is not `set.metric` of an evaluation set; there are {', '.join(sorted(self.sets))}"
                raise ValueError(msg)
