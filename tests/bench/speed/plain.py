"""OpenVINO as a careful user writes it in fifty lines: bfloat16, a token budget, sorted by length. The bar to beat.

Nothing of munjang is in it, so that it stays what it is while munjang changes.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino
import torch
from openvino.properties import hint
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BUDGET = 4096


class PlainOpenVino:
    """Encodes texts with a sentence-transformers folder of a BERT with mean pooling.

    Args:
        folder: of the model.
        bfloat16: compute in that format, else in float32.
    """

    def __init__(self, folder: str, *, bfloat16: bool = True) -> None:
        model = SentenceTransformer(folder, device="cpu", local_files_only=True).eval()
        self._limit = model.max_seq_length
        self._pad = model.tokenizer.pad_token_id
        example = {name: torch.ones(2, 8, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = openvino.convert_model(_Mean(model[0].model), example_input=example)
        config = {
            hint.inference_precision(): openvino.Type.bf16 if bfloat16 else openvino.Type.f32,
            hint.performance_mode(): hint.PerformanceMode.LATENCY,
        }
        self._request = openvino.Core().compile_model(graph, "CPU", config).create_infer_request()
        self._tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._limit)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Normalised vectors float32 [len(texts), d], in the order of the texts."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(ids)), key=lambda position: -len(ids[position]))
        found: dict[int, NDArray[np.float32]] = {}
        while order:
            size = max(1, BUDGET // len(ids[order[0]]))
            batch, order = order[:size], order[size:]
            found.update(zip(batch, self._forward([ids[position] for position in batch]), strict=True))
        rows = np.stack([found[position] for position in range(len(ids))])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _forward(self, batch: list[list[int]]) -> NDArray[np.float32]:
        width = len(batch[0])
        ids = np.array([row + [self._pad] * (width - len(row)) for row in batch], np.int64)
        mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in batch], np.int64)
        self._request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data)


class _Mean(torch.nn.Module):
    """A transformer and the mean of its token vectors."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)
