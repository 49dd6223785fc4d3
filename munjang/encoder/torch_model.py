"""The forward of a sentence-transformers pipeline in torch: pad a batch, run the transformer, pool in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens


class TorchForward:
    """Runs token ids through the modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in the model's own number format; pooling and what follows compute in float32.
    """

    def __init__(self, modules: Sequence[Any], device: torch.device) -> None:
        transformer = modules[0]
        tokenizer = transformer.tokenizer
        self._transformer = transformer
        self._rest = [module.float() for module in modules[1:]]
        self._device = device
        self._pad_id = tokenizer.pad_token_id or 0
        self._pad_type_id = tokenizer.pad_token_type_id
        self._pads_left = tokenizer.padding_side == "left"
        self._wants_type_ids = "token_type_ids" in tokenizer.model_input_names

    def __call__(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Vectors float32 [len(batch), dimensions], rows in the order of the batch.

        Raises:
            MemoryError: the device has not enough memory for this batch.
        """
        skips = [tokens.prompt_tokens for tokens in batch]
        if len(set(skips)) == 1:
            return self._run(batch, skips[0])
        rows: list[NDArray[np.float32]] = [self._run([tokens], tokens.prompt_tokens)[0] for tokens in batch]
        return np.stack(rows)

    def _run(self, batch: Sequence[Tokens], prompt_tokens: int) -> NDArray[np.float32]:
        try:
            with torch.inference_mode():
                features = self._features(batch)
                features = self._transformer(features)
                features["token_embeddings"] = features["token_embeddings"].float()
                if prompt_tokens:
                    features["prompt_length"] = prompt_tokens
                for module in self._rest:
                    features = module(features)
                vectors: NDArray[np.float32] = features["sentence_embedding"].cpu().numpy()
                return vectors
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(*error.args) from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError(*error.args) from error
            raise

    def _features(self, batch: Sequence[Tokens]) -> dict[str, Any]:
        shape = (len(batch), max(map(len, batch)))
        ids = np.full(shape, self._pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        type_ids = np.full(shape, self._pad_type_id, np.int64) if self._wants_type_ids else None
        for row, tokens in enumerate(batch):
            place = slice(shape[1] - len(tokens), None) if self._pads_left else slice(0, len(tokens))
            ids[row, place] = tokens.ids
            mask[row, place] = 1
            if type_ids is not None:
                type_ids[row, place] = tokens.type_ids or 0
        arrays = {"input_ids": ids, "attention_mask": mask}
        if type_ids is not None:
            arrays["token_type_ids"] = type_ids
        return {name: torch.from_numpy(array).to(self._device, non_blocking=True) for name, array in arrays.items()}
