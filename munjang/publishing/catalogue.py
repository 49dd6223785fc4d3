"""The catalogue: what models that Korean teams use need, as data (`catalogue.yaml`). It fills in what a folder lacks.

A hub's model says most of this in its own files, and they win. What they do not say, such as the pooling of a plain
transformer or the prompts on a model card, is here. Only what is known for sure is here; a field may be missing.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from munjang.kinds import ModelKind

Pooling = Literal["mean", "cls", "lasttoken", "max", "mean_sqrt_len_tokens", "weightedmean"]
POOLINGS: tuple[str, ...] = get_args(Pooling)
"""How the vectors of tokens become one of a text, by the names of sentence-transformers."""


class Entry(BaseModel):
    """A model of the catalogue.

    Attributes:
        name: its id on the hub.
        kind: what it makes.
        base: what it was trained from, by its id on the hub.
        pooling: how its token vectors become one; None: unknown, or it makes no vectors.
        prompts: what it expects before a text, by the prompt's name.
        default_prompt: the name of the prompt that a text gets where none is asked for; empty: none.
        max_tokens: the most tokens of a text that it reads.
        dimensions: of its vectors.
        matryoshka_dimensions: shorter lengths that it was trained for.
        licence: as its owner states it.
        revision: the commit on the hub that this was checked against; publishing takes it unless another is named.
        needs: what one must do or know, in a sentence.
        served: whether munjang can serve it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    kind: ModelKind = ModelKind.DENSE
    base: Annotated[str, Field(pattern=r"^([\w.-]+/[\w.-]+)?$")] = ""
    pooling: Pooling | None = None
    prompts: dict[Annotated[str, Field(min_length=1)], str] = {}
    default_prompt: str = ""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    dimensions: Annotated[int, Field(gt=0)] | None = None
    matryoshka_dimensions: tuple[Annotated[int, Field(gt=0)], ...] = ()
    licence: str = ""
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""
    needs: str = ""
    served: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Entry:
        """Hold the fields against each other."""
        makes_vectors = self.kind is ModelKind.DENSE
        if not makes_vectors and (self.pooling or self.prompts or self.dimensions or self.matryoshka_dimensions):
            msg = f"{self.name}: a {self.kind} has no pooling, prompts or dimensions"
            raise ValueError(msg)
        if self.default_prompt and self.default_prompt not in self.prompts:
            msg = f"{self.name}: there is no prompt {self.default_prompt!r}"
            raise ValueError(msg)
        if self.dimensions and any(length >= self.dimensions for length in self.matryoshka_dimensions):
            msg = f"{self.name}: a Matryoshka length is not shorter than its {self.dimensions} dimensions"
            raise ValueError(msg)
        if not self.served and not self.needs:
            msg = f"{self.name}: it is not served, and `needs` does not say why"
            raise ValueError(msg)
        return self

    def options(self) -> str:
        """What to give `munjang versions publish` for a folder of this model that says nothing itself."""
        given = [f"--pooling {self.pooling}"] if self.pooling else []
        given += [f"--prompts '{name}={text}'" for name, text in self.prompts.items() if text]
        given += [f"--default-prompt {self.default_prompt}"] if self.default_prompt else []
        return " ".join(given)


class _Catalogue(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: tuple[Entry, ...]


@cache
def catalogue() -> dict[str, Entry]:
    """All models of the catalogue by their ids on the hub, in its order."""
    text = resources.files("munjang.publishing").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return {entry.name: entry for entry in _Catalogue.model_validate(yaml.safe_load(text)).models}


def find_entry(name: str) -> Entry | None:
    """The model of that id on the hub, however its letters are written; None if the catalogue has none."""
    return next((entry for key, entry in catalogue().items() if key.casefold() == name.casefold()), None)


def like(name: str) -> list[Entry]:
    """Models that a name may mean: by a part of their ids, or by how a folder on a disk is often called after them."""
    parts = [part.removeprefix("models--").replace("--", "/") for part in PurePath(name).parts]
    words = {_plain(word) for part in parts for word in {part, part.rpartition("/")[2]}} - {""}
    named = [entry for key, entry in catalogue().items() if words & {_plain(key), _plain(key.rpartition("/")[2])}]
    wanted = _plain(name)
    return named or [entry for key, entry in catalogue().items() if wanted and wanted in _plain(key)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9/.]+", "-", name.casefold()).strip("-./")
