"""The forward of a sentence-transformers model in torch, from token ids to vectors.

`TorchForward` runs one text per row through the library's own modules, on any device. `FlatForward` is for GPUs: all
texts of a batch in one row without padding. A single text, which takes a GPU longer to start than to compute, is
replayed from a CUDA graph.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from munjang.encoder.contract import Tokens
from munjang.encoder.model_inputs import arrays, in_frames
from munjang.encoder.sequence_packing import START, Frame, computed
from munjang.encoder.torch_runtime import pipeline
from munjang.encoder.torch_runtime.pipeline import Attention, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation
    from munjang.encoder.model_rules import Rules

GPU_START = 512
"""What another frame costs on a GPU, in tokens: it computes this many while the processor starts the next."""

GRAPH_WIDTHS = (*range(16, 129, 16), *range(192, 513, 64))
"""Widths of the rows that graphs are recorded for: a single text takes the next wider one."""

_WARM_UPS = 3  # runs before a graph is recorded, as torch requires

_log = logging.getLogger(__name__)


class StoppableLayers:
    """Lets a cancellation end the forward of a model between two of its layers, on the thread that runs it."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._running = threading.local()
        for layers in model.modules():
            if isinstance(layers, torch.nn.ModuleList):
                for layer in layers:
                    layer.register_forward_pre_hook(self._check)

    @contextmanager
    def stopped_by(self, cancellation: Cancellation | None) -> Iterator[None]:
        """What this thread runs inside ends when it is cancelled.

        Raises:
            ForwardCancelled: it did.
        """
        self._running.cancellation = cancellation
        try:
            self._check()
            yield
        finally:
            self._running.cancellation = None

    def _check(self, *_: object) -> None:
        cancellation: Cancellation | None = getattr(self._running, "cancellation", None)
        if cancellation is not None:
            cancellation.check()


class TorchForward:
    """Runs token ids through the modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in the model's own number format; pooling and what follows compute in float32.
    """

    def __init__(self, modules: Sequence[Any], rules: Rules, device: torch.device, streams: int = 1) -> None:
        self._modules = list(modules)
        self._rules = rules
        self._device = device
        self._start = GPU_START if device.type == "cuda" else START
        self._layers = StoppableLayers(modules[0])
        self.streams = streams
        self._whole = threading.Lock()
        self._shared = threading.BoundedSemaphore(streams) if streams > 1 else self._whole

    packs = False

    def __call__(
        self, batch: Sequence[Tokens], *, share: bool = False, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        with self._shared if share else self._whole, self._layers.stopped_by(cancellation):
            return _guarded(lambda: self._run(batch))

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        beyond = self._rules.alone_beyond
        padded = computed([length for length in lengths if length <= beyond], packs=False, start=self._start)
        return padded + sum(length for length in lengths if length > beyond)

    def _run(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        skips = {tokens.prompt_tokens for tokens in batch}
        if len(skips) > 1:
            return np.concatenate([self._run([tokens]) for tokens in batch])
        run = partial(self._vectors, prompt_tokens=skips.pop())
        return in_frames(batch, self._rules, run, start=self._start)

    def _vectors(self, given: dict[str, NDArray[np.int64]], prompt_tokens: int) -> NDArray[np.float32]:
        features: dict[str, Any] = {
            "input_ids": _to_device(given["input_ids"], self._device),
            "attention_mask": _to_device((given["segments"] > 0).astype(np.int64), self._device),
        }
        if "token_type_ids" in given:
            features["token_type_ids"] = _to_device(given["token_type_ids"], self._device)
        if prompt_tokens:
            features["prompt_length"] = prompt_tokens
        found = pipeline.run_modules(self._modules, features)[:, : self._rules.dimensions]
        vectors: NDArray[np.float32] = found.cpu().numpy()
        return vectors


class FlatForward:
    """Runs token ids through a `Pipeline` of variable-length attention.

    Args:
        modules: of a sentence-transformers model whose first one is a transformer that can be packed this way.
        rules: how it packs.
        device: where it is.
    """

    def __init__(self, modules: Sequence[Any], rules: Rules, device: torch.device) -> None:
        pipeline.use_varlen(modules[0].model)
        self._pipeline = Pipeline(modules, Attention.VARLEN, rules.dimensions).eval()
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
            return _guarded(lambda: self._vectors(batch))

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
        """Record the graphs of single texts; if the model or the driver does not allow it, run without."""
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
            self._given[name].copy_(_to_device(array, self._device))
        self._graph.replay()
        return self._found


def _guarded(run: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run a forward.

    Raises:
        MemoryError: the device has not enough memory for it.
    """
    try:
        with torch.inference_mode():
            return run()
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(*error.args) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise MemoryError(*error.args) from error
        raise


def _to_device(array: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """An array on a device; to a GPU through pinned memory, so the copy does not block."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _on(given: dict[str, NDArray[np.int64]], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: _to_device(array, device) for name, array in given.items()}


def _widened(given: dict[str, NDArray[np.int64]], width: int) -> dict[str, NDArray[np.int64]]:
    """The same with `index` and `mask` as wide as the row, so that all texts of a graph have one shape."""
    wider = {name: np.pad(given[name], ((0, 0), (0, width - given[name].shape[1]))) for name in ("index", "mask")}
    return given | wider
