"""An encoder of one sentence-transformers model, for any runtime that computes its forward, and the options of loading.

`load` loads one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from munjang.encoder.prompting import prompting
from munjang.errors import WrongKind
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation, ModelInfo, Piece, Prompting, Tokens

ComputeType = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Runtime = Literal["auto", "torch", "openvino"]


class Converter(Protocol):
    """Makes the export that `LoadOptions.export` and `compute_type` name, out of a sentence-transformers folder."""

    def __call__(self, folder: Path, options: LoadOptions) -> None:
        """Make it and keep it.

        Raises:
            ModelError: the folder cannot be loaded, or OpenVINO cannot run it.
        """


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model should run.

    Attributes:
        device: cpu, cuda, cuda:1, mps, or auto.
        compute_type: the number format of the transformer; auto is float32 on a CPU, bfloat16 on a GPU that has it.
            int8 is for OpenVINO, and inexact.
        runtime: auto takes OpenVINO on a CPU for the models that it can run, and torch for the others.
        threads: threads of a forward on a CPU; 0 leaves the runtime's own choice.
        int8_scale: the calibration that the version was published with; 0 if none.
        export: where the OpenVINO form of this very model is kept; it is made there if it is missing. None keeps none.
        exports_kept: how many such forms stay beside each other: the ones that were used last.
        interactive: whether callers wait for single texts, so that one has all threads, or a stream of its own; else a
            CPU computes several frames of a list at a time.
        converter: makes an export that is missing, so that this process needs no torch; None: this process does.
        alone: run each text by itself, without padding, for a model whose vectors depend on the texts beside them.
            Torch does that, by the library's own preprocessing.
        kind: what the folder holds, as its manifest says.
    """

    device: str = "auto"
    compute_type: ComputeType = "auto"
    runtime: Runtime = "auto"
    threads: int = 0
    int8_scale: float = 0.0
    export: Path | None = None
    exports_kept: int = 4
    interactive: bool = False
    converter: Converter | None = None
    alone: bool = False
    kind: ModelKind = ModelKind.DENSE


class Forward(Protocol):
    """What a runtime makes of a model."""

    @property
    def streams(self) -> int:
        """See `Encoder.streams`."""

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""

    def __call__(
        self, batch: Sequence[Tokens], *, share: bool, cancellation: Cancellation | None
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`. Called from any thread; it limits by itself how many run at the same time."""

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""


@dataclass
class SentenceEncoder:
    """An `Encoder` of one sentence-transformers model.

    Attributes:
        info: what callers may know of the model.
        runtime: what computes the forward: "torch" or "openvino".
        compute_type: the number format that it computes in.
        on_cpu: whether it computes on a CPU.
        token_limits: what each place of the folder says of the most tokens, where the folder itself was read.
    """

    info: ModelInfo
    runtime: str
    compute_type: str
    on_cpu: bool
    _tokenize: Callable[[Sequence[str], Prompting], list[Tokens]]
    _forward: Forward | None
    _tidy: Callable[[], None] | None = None
    token_limits: Mapping[str, int] = field(default_factory=dict)
    _tokenize_pairs: Callable[[Sequence[tuple[str, str]]], list[Tokens]] | None = None
    _pieces: Callable[[Sequence[str], str, bool], list[list[Piece]]] | None = None

    def tokenize(self, texts: Sequence[str], how: Prompting | None = None) -> list[Tokens]:
        """See `Encoder.tokenize`."""
        return self._tokenize(texts, how or prompting(self.info))

    def pieces(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[list[Piece]]:
        """See `Encoder.pieces`."""
        if self._pieces is None:
            msg = "this model does not read token ids, so there are none to show"
            raise WrongKind(msg)
        return self._pieces(texts, prompt, special)

    def tokenize_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """See `Encoder.tokenize_pairs`."""
        if self._tokenize_pairs is None or self.info.kind is not ModelKind.CROSS_ENCODER:
            msg = "this is a dense model, which makes a vector of each text; pairs are scored by cross-encoders"
            raise WrongKind(msg)
        return self._tokenize_pairs(pairs)

    @property
    def streams(self) -> int:
        """See `Encoder.streams`."""
        return self._open().streams

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""
        return self._open().packs

    def forward(
        self, batch: Sequence[Tokens], *, share: bool = False, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        return self._open()(batch, share=share, cancellation=cancellation)

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return self._open().computed(lengths)

    def tidy(self) -> None:
        """See `Encoder.tidy`."""
        if self._tidy is not None:
            self._tidy()

    def close(self) -> None:
        """See `Encoder.close`."""
        self._forward = self._tidy = None

    def _open(self) -> Forward:
        if self._forward is None:
            msg = "the encoder is closed"
            raise RuntimeError(msg)
        return self._forward
