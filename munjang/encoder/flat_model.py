"""The forward of a transformer in torch without padding: all texts of a batch in one row, for GPUs.

A single text, which is what a GPU spends more time on starting than on computing, is replayed from a CUDA graph.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from munjang.encoder import varlen
from munjang.encoder.contract import Tokens
from munjang.encoder.frames import arrays
from munjang.encoder.layout import Frame
from munjang.encoder.pipeline import Attention, Pipeline
from munjang.encoder.torch_model import StoppableLayers, guarded, to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation
    from munjang.encoder.rules import Rules

GRAPH_WIDTHS = (*range(16, 129, 16), *range(192, 513, 64))
"""Tokens of the rows that graphs are made for: a single text takes the next wider one."""

_WARM_UPS = 3  # runs before a graph is recorded, as torch asks for

_log = logging.getLogger(__name__)


class FlatForward:
    """Runs token ids through a `Pipeline` of variable-length attention.

    Args:
        modules: of a sentence-transformers model whose first one is a transformer that can be packed this way.
        rules: how it packs.
        device: where it is.
    """

    def __init__(self, modules: Sequence[Any], rules: Rules, device: torch.device) -> None:
        varlen.use(modules[0].model)
        self._pipeline = Pipeline(modules, Attention.VARLEN).eval()
        self._rules = rules
        self._device = device
        self._graphs: dict[int, Replay] = {}
        self._layers = StoppableLayers(modules[0])
        self._turn = threading.Lock()
        if device.type == "cuda":
            self._record()

    streams = 1
    packs = False

    def __call__(
        self,
        batch: Sequence[Tokens],
        *,
        share: bool = False,  # noqa: ARG002 - a GPU runs one forward at a time
        cancellation: Cancellation | None = None,
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        with self._turn, self._layers.stopped_by(cancellation):
            return guarded(lambda: self._vectors(batch))

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`; a graph's row, which is a little wider than its text, is not told apart."""
        return sum(lengths)

    def _vectors(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        tokens = sum(map(len, batch))
        wider = (width for width in self._graphs if width >= tokens)
        width = next(wider, 0) if len(batch) == 1 else 0
        given = arrays(Frame(width or tokens, (tuple(range(len(batch))),)), batch, self._rules)
        found = self._graphs[width](_widened(given, width)) if width else self._pipeline(**_on(given, self._device))
        vectors: NDArray[np.float32] = found.cpu().numpy()
        return vectors

    def _record(self) -> None:
        """Record the graphs of single texts; where the model or the driver does not allow it, go on without."""
        for width in (width for width in GRAPH_WIDTHS if width <= self._rules.max_tokens):
            text = Tokens((5,) * width)
            given = _widened(arrays(Frame(width, ((0,),)), [text], self._rules), width)
            try:
                with torch.inference_mode():
                    graph = Replay(self._pipeline, given, self._device)
                    expected, found = self._pipeline(**_on(given, self._device)), graph(given)
            except RuntimeError as error:
                _log.warning("single texts run without CUDA graphs: %s", error)
                self._graphs.clear()
                return
            if torch.allclose(expected, found, rtol=1e-2, atol=1e-2):
                self._graphs[width] = graph


class Replay:
    """A pipeline on one text of one width, recorded as a CUDA graph. Call it under `inference_mode`."""

    def __init__(self, pipeline: Pipeline, given: dict[str, NDArray[np.int64]], device: torch.device) -> None:
        self._given = _on(given, device)
        self._device = device
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                pipeline(**self._given)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found: torch.Tensor = pipeline(**self._given)

    def __call__(self, given: dict[str, NDArray[np.int64]]) -> torch.Tensor:
        """Vectors float32 [1, dimensions], good until the next call."""
        for name, array in given.items():
            self._given[name].copy_(to_device(array, self._device))
        self._graph.replay()
        return self._found


def _on(given: dict[str, NDArray[np.int64]], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: to_device(array, device) for name, array in given.items()}


def _widened(given: dict[str, NDArray[np.int64]], width: int) -> dict[str, NDArray[np.int64]]:
    """The same with `index` and `mask` as wide as the row, so that all texts of a graph have one shape."""
    wider = {name: np.pad(given[name], ((0, 0), (0, width - given[name].shape[1]))) for name in ("index", "mask")}
    return given | wider
