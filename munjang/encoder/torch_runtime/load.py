"""A sentence-transformers folder in torch: any model that the library loads, on any device.

A model that is not a plain transformer over token ids runs as a `GenericModel`, with the library's own preprocessing.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
    Router,
    Transformer,
    WeightedLayerPooling,
)
from transformers.utils import logging as transformers_logging

from munjang.encoder.contract import Prompting, Tokens
from munjang.encoder.model_rules import Rules, info_of, rules_of
from munjang.encoder.sentence_encoder import ComputeType, LoadOptions, SentenceEncoder
from munjang.encoder.sequence_packing import computed, lay_out
from munjang.encoder.tokenizer import TextTokenizer, normalize
from munjang.encoder.torch_runtime.block_sparse import WIDTH_STEP, full_attention_limit, settle_attention
from munjang.encoder.torch_runtime.cross_encoder import in_dense_form, info_of_cross_encoder, load_cross_encoder
from munjang.encoder.torch_runtime.forward import FlatForward, StoppableLayers, TorchForward
from munjang.encoder.torch_runtime.limits import check_ids, role_tokens, settle_limits, stated_limits
from munjang.encoder.torch_runtime.open_folder import open_folder
from munjang.encoder.torch_runtime.pipeline import Attention, find_packing, padding_matters
from munjang.errors import ConfigurationError, InvalidOption
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation
    from munjang.kinds import Role

_log = logging.getLogger(__name__)


def load_torch(folder: Path, options: LoadOptions) -> SentenceEncoder:
    """Load a folder into torch; see `load_encoder`. A number of threads goes for the whole process."""
    chosen = pick_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    dtype = pick_dtype(options.compute_type, chosen)
    model = load_model(folder, chosen, dtype, options.kind)
    limits = settle(model, folder)
    name, on_cpu = str(dtype).removeprefix("torch."), chosen.type == "cpu"
    modules, rules = opened(model, options.kind)
    if rules is None or options.alone:
        info = info_of(model, options.int8_scale)
        generic = GenericModel(model, alone=options.alone)
        return SentenceEncoder(info, "torch", name, on_cpu, generic.tokenize, generic, token_limits=limits)
    rules = _packed(modules, rules, chosen)
    if not rules.packs:
        rules = _unpadded(modules, rules)
    forward = (
        FlatForward(modules, rules, chosen)
        if rules.packs
        else TorchForward(modules, rules, chosen, _streams(modules[0], chosen, options))
    )
    info, tokenizer = rules.info(options.int8_scale), TextTokenizer(rules)
    return SentenceEncoder(
        *(info, "torch", name, on_cpu, tokenizer, forward),
        token_limits=limits,
        _tokenize_pairs=tokenizer.pairs,
        _pieces=tokenizer.pieces,
    )


def settle(model: Any, folder: Path) -> dict[str, int]:
    """Settle what the model reads and how, once it is loaded; its limits, see `settle_limits`."""
    limits = settle_limits(model, stated_limits(folder))
    for module in model.modules():
        if isinstance(module, Transformer):
            settle_attention(module)
    return limits


def _streams(module: Any, device: torch.device, options: LoadOptions) -> int:
    """Two forwards at a time if callers wait and there are two cores, so a long one does not delay others."""
    if not options.interactive or device.type != "cpu" or min(options.threads or 2, os.cpu_count() or 1) < 2:  # noqa: PLR2004 - one core each
        return 1
    return 1 if changes_with_length(module.model.config) or full_attention_limit(module) is not None else 2


def changes_with_length(config: Any) -> bool:
    """Whether a model changes its positions by the length of the longest text of a forward."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = (rope, *(part for part in rope.values() if isinstance(part, dict)))  # one, or one for each type of layer
    return any(kind.get("rope_type", kind.get("type")) in {"dynamic", "longrope"} for kind in kinds)


def _packed(modules: list[Any], rules: Rules, device: torch.device) -> Rules:
    """How to pack, on a GPU that has the kernel for it; else as given."""
    if device.type != "cuda" or not rules.pools_prompt or full_attention_limit(modules[0]) is not None:
        return rules
    return find_packing(modules, rules, Attention.VARLEN)


def _unpadded(modules: list[Any], rules: Rules) -> Rules:
    """The rules, with texts alone in their forwards where padding would change their vectors; the log says so."""
    most = full_attention_limit(modules[0])
    if most is not None:
        _log.warning("texts of more than %d tokens run one by one: their attention goes by blocks", most)
        return rules.model_copy(update={"alone_beyond": most - most % WIDTH_STEP})
    if changes_with_length(modules[0].model.config) or padding_matters(modules, rules):
        _log.warning("texts run one by one, which is slow: a vector of this model depends on what is beside its text")
        return rules.model_copy(update={"alone_beyond": 0})
    return rules


def load_model(folder: Path, device: torch.device, dtype: torch.dtype, kind: ModelKind = ModelKind.DENSE) -> Any:
    """The folder as a `SentenceTransformer` or `CrossEncoder`, whose own limit on tokens stands until `settle_limits`.

    Raises:
        ModelLoadFailed: it cannot be loaded, or its tokenizer gives ids that it has no embedding for.
        UnsupportedModel: it is a cross-encoder of a form that is not served.
    """
    transformers_logging.set_verbosity_error()  # its remarks and bars are not for the log of a server
    transformers_logging.disable_progress_bar()
    if kind is ModelKind.CROSS_ENCODER:
        model = load_cross_encoder(folder, device, dtype)
    else:
        model = open_folder(SentenceTransformer, "model", folder, device, dtype)
    check_ids(model)
    return model


def opened(model: Any, kind: ModelKind) -> tuple[list[Any], Rules | None]:
    """The modules of a model whose limits are settled, and its rules if it is a transformer over token ids alone.

    Raises:
        UnsupportedModel: it is a cross-encoder whose head needs more than token vectors.
    """
    if kind is ModelKind.DENSE:
        return list(model), plain_rules(model)
    info = info_of_cross_encoder(model)
    rules = rules_of(model, info, role_tokens={"": info.max_tokens}, pools_prompt=True)
    return in_dense_form(model), rules


PLAIN_MODULES = (Pooling, Dense, Normalize, LayerNorm, Dropout, WeightedLayerPooling)
"""Modules behind a transformer that read what it gives and nothing else: not what a text is for, as a router does."""

PLAIN_TEXT = {"padding": (True, "longest"), "truncation": (True, "longest_first")}
"""What a model may ask of its tokenizer for a text, beside a length, and the values that are the usual ones."""


def plain_rules(model: Any) -> Rules | None:
    """The rules of a model whose first module makes token embeddings from token ids alone; None for other models."""
    first = model[0]
    plain = (
        isinstance(first, Transformer)
        and all(isinstance(module, PLAIN_MODULES) for module in list(model)[1:])
        and getattr(first.tokenizer, "is_fast", False)
        and "message" not in first.modality_config
        and first.modality_config.get("text", {}).get("method") == "forward"
        and first.modality_config["text"]["method_output_name"] == "last_hidden_state"
        and first.module_output_name == "token_embeddings"
        and first.query_expansion is None
        and _reads_plainly(first.processing_kwargs)
    )
    if not plain:
        return None
    pools_prompt = all(module.include_prompt for module in model if isinstance(module, Pooling))
    return rules_of(model, info_of(model, 0.0), role_tokens=role_tokens(first), pools_prompt=pools_prompt)


def _reads_plainly(asked: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a model's `processing_kwargs` ask for nothing but a length; other modalities than text do not matter."""
    return not asked.get("common") and all(
        name == "max_length" or value in PLAIN_TEXT.get(name, ()) for name, value in asked.get("text", {}).items()
    )


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


UNCUT = {"truncation": False, "padding": False, "max_length": None}
"""What the tokenizer is asked for to count all tokens of a text."""


class GenericModel:
    """Any model that is not a plain transformer over token ids: static embeddings, slow tokenizers, routers.

    It runs through sentence-transformers' own preprocessing, text by text, which every model of that library has, and
    is slower. `Tokens.text` carries the text to the forward. `alone`: each text runs by itself.
    """

    def __init__(self, model: Any, *, alone: bool = False) -> None:
        self._model = model
        self._alone = alone
        self._layers = StoppableLayers(model)
        self._turn = threading.Lock()
        self._cuts = any(isinstance(module, Transformer) for module in model.modules())
        self._routers = [module for module in model.modules() if isinstance(module, Router)]
        self._by_role = self._cuts or bool(self._routers)

    def tokenize(self, texts: Sequence[str], how: Prompting) -> list[Tokens]:
        """Tokens that carry the text, its prompt and role and, where the model has token ids, as many as it reads.

        Raises:
            InvalidOption: the model has no route for that role.
            InvalidText: a text is not valid Unicode.
        """
        self._check_role(how.role)
        how = how if self._by_role else Prompting(how.prompt)
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
                vectors = self._model.encode(
                    [batch[row].text for row in members],
                    prompt=prompt,
                    task=role,
                    batch_size=len(members),
                    convert_to_tensor=True,
                    show_progress_bar=False,
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

    def _check_role(self, role: Role | None) -> None:
        for router in self._routers:
            try:
                router._resolve_route(task=role, modality="text")  # noqa: SLF001 - it has no other way to ask
            except ValueError as error:
                routes = ", ".join(sorted(router.sub_modules))
                msg = f"the model has no route for {role or 'a text without a role'}; its routes: {routes}"
                raise InvalidOption(msg, field="role") from error

    def _tokens(self, text: str, how: Prompting) -> Tokens:
        read = self._read(text, how)
        ids = read.get("input_ids")
        if ids is None:
            return Tokens((0,), text=text, prompt=how.prompt, role=how.role)
        real = read.get("attention_mask")
        flat = tuple((ids if real is None else ids[real > 0]).flatten().tolist())
        whole = self._read(text, how, processing_kwargs={"text": UNCUT}) if self._cuts else read
        truncated = whole["input_ids"].numel() > len(flat)
        return Tokens(flat or (0,), truncated=truncated, text=text, prompt=how.prompt, role=how.role)

    def _read(self, text: str, how: Prompting, **others: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._model.preprocess([text], prompt=how.prompt, task=how.role, **others)
        return found
