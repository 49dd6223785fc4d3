"""The forward of a sentence-transformers pipeline in torch: run the transformer, pool in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.encoder.rules import Rules


class TorchForward:
    """Runs token ids through the modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in the model's own number format; pooling and what follows compute in float32.
    """

    def __init__(self, modules: Sequence[Any], rules: Rules, device: torch.device) -> None:
        self._transformer = modules[0]
        self._rest = [module.float() for module in modules[1:]]
        self._rules = rules
        self._device = device

    def __call__(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch.

        Raises:
            MemoryError: the device has not enough memory for this batch.
        """
        skips = {tokens.prompt_tokens for tokens in batch}
        if len(skips) == 1:
            return self._run(batch, skips.pop())
        return np.concatenate([self._run([tokens], tokens.prompt_tokens) for tokens in batch])

    def _run(self, batch: Sequence[Tokens], prompt_tokens: int) -> NDArray[np.float32]:
        try:
            with torch.inference_mode():
                return self._vectors(batch, prompt_tokens)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(*error.args) from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError(*error.args) from error
            raise

    def _vectors(self, batch: Sequence[Tokens], prompt_tokens: int) -> NDArray[np.float32]:
        arrays = self._rules.pad(batch)
        features: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        features = {name: tensor.to(self._device, non_blocking=True) for name, tensor in features.items()}
        features = self._transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        if prompt_tokens:
            features["prompt_length"] = prompt_tokens
        for module in self._rest:
            features = module(features)
        vectors: NDArray[np.float32] = features["sentence_embedding"].cpu().numpy()
        return vectors
