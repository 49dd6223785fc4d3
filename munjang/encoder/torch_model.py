"""The forward of a sentence-transformers pipeline in torch: one text a row, by the library's own modules.

For what cannot be packed; see `flat_model` for what can.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from munjang.encoder.frames import in_frames
from munjang.encoder.layout import START, computed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.encoder.rules import Rules


GPU_START = 512
"""What another frame costs on a GPU, in tokens: it computes so many while the processor starts the next."""


class TorchForward:
    """Runs token ids through the modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in the model's own number format; pooling and what follows compute in float32.
    """

    def __init__(self, modules: Sequence[Any], rules: Rules, device: torch.device) -> None:
        self._transformer = modules[0]
        self._rest = [module.float() for module in modules[1:]]
        self._rules = rules
        self._device = device
        self._start = GPU_START if device.type == "cuda" else START

    parts = 1
    packs = False

    def __call__(
        self,
        batch: Sequence[Tokens],
        pause: Callable[[], None] | None = None,  # noqa: ARG002 - it runs in one part
    ) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch.

        Raises:
            MemoryError: the device has not enough memory for this batch.
        """
        skips = {tokens.prompt_tokens for tokens in batch}
        if len(skips) > 1:
            return np.concatenate([self([tokens]) for tokens in batch])
        run = partial(self._vectors, prompt_tokens=skips.pop())
        return guarded(lambda: in_frames(batch, self._rules, run, start=self._start))

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=False, start=self._start)

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
