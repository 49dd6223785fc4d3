"""The forward of a sentence-transformers pipeline in torch: one text a row, by the library's own modules.

For what cannot be packed; see `flat_model` for what can.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from munjang.encoder.frames import in_frames
from munjang.encoder.layout import START, computed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation, Tokens
    from munjang.encoder.rules import Rules


GPU_START = 512
"""What another frame costs on a GPU, in tokens: it computes so many while the processor starts the next."""


class TorchForward:
    """Runs token ids through the modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in the model's own number format; pooling and what follows compute in float32.
    """

    def __init__(self, modules: Sequence[Any], rules: Rules, device: torch.device, streams: int = 1) -> None:
        self._transformer = modules[0]
        self._rest = [module.float() for module in modules[1:]]
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
            return guarded(lambda: self._run(batch))

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=False, start=self._start)

    def _run(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        skips = {tokens.prompt_tokens for tokens in batch}
        if len(skips) > 1:
            return np.concatenate([self._run([tokens]) for tokens in batch])
        run = partial(self._vectors, prompt_tokens=skips.pop())
        return in_frames(batch, self._rules, run, start=self._start)

    def _vectors(self, given: dict[str, NDArray[np.int64]], prompt_tokens: int) -> NDArray[np.float32]:
        features: dict[str, Any] = {
            "input_ids": to_device(given["input_ids"], self._device),
            "attention_mask": to_device((given["segments"] > 0).astype(np.int64), self._device),
        }
        if "token_type_ids" in given:
            features["token_type_ids"] = to_device(given["token_type_ids"], self._device)
        features = self._transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        if prompt_tokens:
            features["prompt_length"] = prompt_tokens
        for module in self._rest:
            features = module(features)
        vectors: NDArray[np.float32] = features["sentence_embedding"].cpu().numpy()
        return vectors


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
        """What this thread runs inside ends when the cancellation says so.

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


def to_device(array: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """An array on a device; to a GPU by way of pinned memory, so that nobody waits for the copy."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def guarded(run: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
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
