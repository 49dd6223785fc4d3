"""A sentence-transformers folder becomes an encoder: choose device and number format, load, and pick the fast path."""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from munjang.encoder.contract import ModelInfo
from munjang.encoder.generic import GenericModel
from munjang.encoder.tokenizer import TextTokenizer
from munjang.encoder.torch_model import TorchForward
from munjang.errors import ConfigurationError, ModelLoadFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens

ComputeType = Literal["auto", "float32", "bfloat16", "float16"]

UNLIMITED_TOKENS = 1 << 20
"""What a model without a limit of its own (static embeddings) is taken to read."""


@dataclass
class SentenceEncoder:
    """An `Encoder` of one sentence-transformers model."""

    info: ModelInfo
    _tokenize: Callable[[Sequence[str], str], list[Tokens]]
    _forward: Callable[[Sequence[Tokens]], NDArray[np.float32]] | None

    def tokenize(self, texts: Sequence[str], prompt_name: str = "") -> list[Tokens]:
        """See `Encoder.tokenize`."""
        return self._tokenize(texts, prompt_name)

    def forward(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        if self._forward is None:
            msg = "the encoder is closed"
            raise RuntimeError(msg)
        return self._forward(batch)

    def close(self) -> None:
        """See `Encoder.close`."""
        self._forward = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_encoder(
    folder: Path,
    *,
    device: str = "auto",
    compute_type: ComputeType = "auto",
    threads: int = 0,
    int8_scale: float = 0.0,
) -> SentenceEncoder:
    """Load a sentence-transformers folder, from disk only, safetensors only, without running code from it.

    Args:
        folder: the model folder.
        device: cpu, cuda, cuda:1, mps, or auto.
        compute_type: the number format of the transformer; auto is float32 on a CPU.
        threads: threads of a forward on a CPU, for the whole process; 0 leaves torch's own choice.
        int8_scale: the calibration that the version was published with; 0 if none.

    Raises:
        ConfigurationError: the machine has no such device.
        ModelLoadFailed: the folder cannot be loaded.
    """
    chosen = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    dtype = pick_dtype(compute_type, chosen)
    try:
        model = SentenceTransformer(
            str(folder),
            device=str(chosen),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        ).eval()
    except Exception as error:
        msg = f"the model cannot be loaded: {error}"
        raise ModelLoadFailed(msg) from error
    return _encoder(model, chosen, int8_scale)


def pick_device(name: str) -> torch.device:
    """The device that a setting names.

    Raises:
        ConfigurationError: unknown, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        msg = f"device {name!r} cannot be used on this machine: {error}"
        raise ConfigurationError(msg, field="device") from error
    return device


def pick_dtype(compute_type: ComputeType, device: torch.device) -> torch.dtype:
    """The number format of the transformer."""
    match compute_type:
        case "auto" if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        case "bfloat16":
            return torch.bfloat16
        case "float16":
            return torch.float16
        case _:
            return torch.float32


def _encoder(model: Any, device: torch.device, int8_scale: float) -> SentenceEncoder:
    info = _info(model, int8_scale)
    first = model[0]
    if not _is_plain_transformer(first):
        generic = GenericModel(model, info.prompts, info.default_prompt)
        return SentenceEncoder(info, generic.tokenize, generic.forward)
    modules = list(model)
    pools_prompt = all(module.include_prompt for module in modules if isinstance(module, Pooling))
    tokenize = TextTokenizer(
        first.tokenizer, info.max_tokens, info.prompts, info.default_prompt, pools_prompt=pools_prompt
    )
    return SentenceEncoder(info, tokenize, TorchForward(modules, device))


def _is_plain_transformer(module: Any) -> bool:
    """Whether token ids alone make this module's token embeddings."""
    return (
        isinstance(module, Transformer)
        and getattr(module.tokenizer, "is_fast", False)
        and "message" not in module.modality_config
        and module.modality_config.get("text", {}).get("method") == "forward"
        and module.module_output_name == "token_embeddings"
    )


def _info(model: Any, int8_scale: float) -> ModelInfo:
    limit = model.max_seq_length
    return ModelInfo(
        dimensions=model.truncate_dim or model.get_embedding_dimension(),
        max_tokens=int(limit) if limit and math.isfinite(limit) else UNLIMITED_TOKENS,
        similarity=str(model.similarity_fn_name),
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt},
        default_prompt=model.default_prompt_name or "",
        int8_scale=int8_scale,
    )
