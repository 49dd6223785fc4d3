"""A sentence-transformers folder in torch: any model that the library loads, on any device.

A model that is not a plain transformer over token ids runs as a `GenericModel`, with the library's own preprocessing.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers.utils import logging as transformers_logging

from munjang.encoder.contract import Tokens
from munjang.encoder.model_rules import Rules, info_of, rules_of
from munjang.encoder.sentence_encoder import ComputeType, LoadOptions, SentenceEncoder
from munjang.encoder.sequence_packing import computed, lay_out
from munjang.encoder.tokenizer import TextTokenizer, normalize
from munjang.encoder.torch_runtime.cross_encoder import in_dense_form, info_of_cross_encoder, load_cross_encoder
from munjang.encoder.torch_runtime.forward import FlatForward, StoppableLayers, TorchForward
from munjang.encoder.torch_runtime.limits import check_ids, settle_limits, stated_limits
from munjang.encoder.torch_runtime.pipeline import Attention, find_packing
from munjang.errors import ConfigurationError, ModelLoadFailed
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation, Prompting
    from munjang.kinds import Role


def load_torch(folder: Path, options: LoadOptions) -> SentenceEncoder:
    """Load a folder into torch; see `load_encoder`. A number of threads goes for the whole process."""
    chosen = pick_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    dtype = pick_dtype(options.compute_type, chosen)
    model = load_model(folder, chosen, dtype, options.kind)
    limits = settle_limits(model, stated_limits(folder))
    name, on_cpu = str(dtype).removeprefix("torch."), chosen.type == "cpu"
    modules, rules = opened(model, options.kind)
    if rules is None or options.alone:
        info = info_of(model, options.int8_scale)
        generic = GenericModel(model, alone=options.alone)
        return SentenceEncoder(info, "torch", name, on_cpu, generic.tokenize, generic, token_limits=limits)
    rules = _packed(modules, rules, chosen)
    forward = (
        FlatForward(modules, rules, chosen)
        if rules.packs
        else TorchForward(modules, rules, chosen, _streams(modules[0].model.config, chosen, options))
    )
    info, tokenizer = rules.info(options.int8_scale), TextTokenizer(rules)
    return SentenceEncoder(
        *(info, "torch", name, on_cpu, tokenizer, forward), token_limits=limits, _tokenize_pairs=tokenizer.pairs
    )


def _streams(config: Any, device: torch.device, options: LoadOptions) -> int:
    """Two forwards at a time if callers wait and there are two cores, so a long one does not delay others."""
    if not options.interactive or device.type != "cpu" or min(options.threads or 2, os.cpu_count() or 1) < 2:  # noqa: PLR2004 - one core each
        return 1
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    changes_itself = rope.get("rope_type", rope.get("type")) in {"dynamic", "longrope"}  # by the text's length
    return 1 if changes_itself else 2


def _packed(modules: list[Any], rules: Rules, device: torch.device) -> Rules:
    """How to pack, on a GPU that has the kernel for it; else as given."""
    if device.type != "cuda" or not rules.pools_prompt:
        return rules
    return find_packing(modules, rules, Attention.VARLEN)


def load_model(folder: Path, device: torch.device, dtype: torch.dtype, kind: ModelKind = ModelKind.DENSE) -> Any:
    """The folder as a `SentenceTransformer` or `CrossEncoder`, whose own limit on tokens stands until `settle_limits`.

    Raises:
        ModelLoadFailed: it cannot be loaded, or its tokenizer gives ids that it has no embedding for.
        UnsupportedModel: it is a cross-encoder of a form that is not served.
    """
    transformers_logging.set_verbosity_error()  # its remarks and bars are not for the log of a server
    transformers_logging.disable_progress_bar()
    load = load_cross_encoder if kind is ModelKind.CROSS_ENCODER else _load_dense
    model = load(folder, device, dtype)
    check_ids(model)
    return model


def _load_dense(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    try:
        return SentenceTransformer(
            str(folder),
            device=str(device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        ).eval()
    except Exception as error:
        msg = f"the model cannot be loaded: {error}"
        raise ModelLoadFailed(msg) from error


def opened(model: Any, kind: ModelKind) -> tuple[list[Any], Rules | None]:
    """The modules of a model whose limits are settled, and its rules if it is a transformer over token ids alone.

    Raises:
        UnsupportedModel: it is a cross-encoder whose head needs more than token vectors.
    """
    if kind is ModelKind.DENSE:
        return list(model), plain_rules(model)
    rules = rules_of(model, info_of_cross_encoder(model), pools_prompt=True)
    return in_dense_form(model), rules


def plain_rules(model: Any) -> Rules | None:
    """The rules of a model whose first module makes token embeddings from token ids alone; None for other models."""
    first = model[0]
    plain = (
        isinstance(first, Transformer)
        and getattr(first.tokenizer, "is_fast", False)
        and "message" not in first.modality_config
        and first.modality_config.get("text", {}).get("method") == "forward"
        and first.module_output_name == "token_embeddings"
    )
    if not plain:
        return None
    pools_prompt = all(module.include_prompt for module in model if isinstance(module, Pooling))
    return rules_of(model, info_of(model, 0.0), pools_prompt=pools_prompt)


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
    """The number format of the transformer.

    Raises:
        ConfigurationError: torch does not compute in it.
    """
    match compute_type:
        case "int8":
            msg = "int8 needs a CPU and a model that OpenVINO runs; torch runs this one here"
            raise ConfigurationError(msg, field="compute_type")
        case "auto" if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        case "bfloat16":
            return torch.bfloat16
        case "float16":
            return torch.float16
        case _:
            return torch.float32


class GenericModel:
    """Any model that is not a plain transformer over token ids: static embeddings, slow tokenizers, routers.

    It runs through sentence-transformers' own preprocessing, text by text, which every model of that library has.
    Slower, and it cannot say whether a text was cut. `Tokens.text` carries the text to the forward. `alone`: each text
    runs by itself.
    """

    def __init__(self, model: Any, *, alone: bool = False) -> None:
        self._model = model
        self._alone = alone
        self._layers = StoppableLayers(model)
        self._turn = threading.Lock()

    def tokenize(self, texts: Sequence[str], how: Prompting) -> list[Tokens]:
        """Tokens that carry the text, its prompt and role and, where the model has token ids, how many there are.

        Raises:
            InvalidText: a text is not valid Unicode.
        """
        return [self._tokens(text, how) for text in normalize(texts)]

    streams = 1
    packs = False

    def __call__(
        self,
        batch: Sequence[Tokens],
        *,
        share: bool = False,  # noqa: ARG002 - the library's tokenizers are not for several threads
        cancellation: Cancellation | None = None,
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        rows: list[Any] = [None] * len(batch)
        with self._turn, self._layers.stopped_by(cancellation), torch.inference_mode():
            for (prompt, role), members in self._groups(batch):
                texts = [batch[row].text for row in members]
                vectors = self._model.encode(
                    texts, prompt=prompt, task=role, batch_size=len(texts), convert_to_tensor=True
                )
                for row, vector in zip(members, vectors.float().cpu(), strict=True):
                    rows[row] = vector
        vectors_out: NDArray[np.float32] = torch.stack(rows).numpy()
        return vectors_out

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return sum(lengths) if self._alone else computed(lengths, packs=False)

    def _groups(self, batch: Sequence[Tokens]) -> Iterator[tuple[tuple[str, Role | None], list[int]]]:
        """Prompts with roles, and rows of texts that have like lengths and both in common."""
        if self._alone:
            yield from (((tokens.prompt, tokens.role), [row]) for row, tokens in enumerate(batch))
            return
        for frame in lay_out([len(tokens) for tokens in batch], packs=False):
            alike: dict[tuple[str, Role | None], list[int]] = {}
            for row in frame.texts:
                alike.setdefault((batch[row].prompt, batch[row].role), []).append(row)
            yield from alike.items()

    def _tokens(self, text: str, how: Prompting) -> Tokens:
        ids = self._model.preprocess([text], prompt=how.prompt, task=how.role).get("input_ids")
        flat = tuple(ids.flatten().tolist()) if ids is not None else (0,)
        return Tokens(ids=flat or (0,), text=text, prompt=how.prompt, role=how.role)
