"""A transformer with its pooling as one torch module over the arrays of a frame, and whether it can read packed rows.

Rows may hold several texts. That needs attention that keeps them apart, and positions that start again with each text.
`find_packing` tries it on a few texts and assumes nothing of an architecture. Where a model does not take both, or
gives other vectors then, each text has a row of its own.

What a token may attend to, the model itself says: all of its text, what comes before it, a window. `packed_masks`
narrows that to the token's own text. Texts are contiguous in a row, so distances between tokens stay what they are.

Attention of variable length (`Attention.VARLEN`) is torch's own kernel (FlashAttention) on a GPU; elsewhere each text
is run by itself, which is right and slow.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, eager_mask, sdpa_mask

from munjang.encoder.contract import Tokens
from munjang.encoder.model_inputs import arrays
from munjang.encoder.sequence_packing import Frame
from munjang.encoder.torch_runtime.cross_encoder import Head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from munjang.encoder.model_rules import Rules

LENGTHS = (200, 33, 9, 5, 3, 2)
"""Tokens of the texts that are tried, as far as the model reads them; see `_window` for a longer first one."""

WIDEST_WINDOW = 1024
"""The widest window that a text of the trial reaches beyond: a longer text takes too long."""

SAME, ROUNDED = 0.9999, 0.995
"""The least cosine between a text's two vectors where the model computes in float32, and where in a shorter format."""

NAME = "munjang_varlen"


class Attention(StrEnum):
    """How the texts of a frame are kept apart."""

    PADDED = "padded"  # one text a row; its padding is masked
    ROWS = "rows"  # a mask among the texts of each row
    VARLEN = "varlen"  # one row of all texts, without padding, and attention of variable length


class Pipeline(torch.nn.Module):
    """The modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in its own number format, pooling and what follows in float32. The first `dimensions`
    components of a vector are given.
    """

    def __init__(self, modules: Sequence[Any], attention: Attention, dimensions: int) -> None:
        super().__init__()
        self._dimensions = dimensions
        self.transformer = modules[0].model
        self.rest = torch.nn.ModuleList(module.float() for module in modules[1:])
        self._attention = attention
        self._has_head = any(isinstance(module, Head) for module in self.rest)
        self._has_kinds = hasattr(getattr(self.transformer, "embeddings", None), "token_type_embeddings")

    def forward(  # noqa: PLR0917 - tracing hands the inputs over by place
        self,
        input_ids: torch.Tensor,
        segments: torch.Tensor,
        index: torch.Tensor,
        mask: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Vectors float32 [texts, dimensions] of a frame; see `model_inputs.arrays` for its inputs."""
        given: dict[str, Any] = {"input_ids": input_ids} | self._apart(segments, mask)
        if position_ids is not None:
            given["position_ids"] = position_ids
        if token_type_ids is not None:
            given["token_type_ids"] = token_type_ids
        elif self._has_kinds:  # all of the first one, said once for all tokens
            given["token_type_ids"] = input_ids.new_zeros((1, 1))
        with packed_masks(segments if self._attention is Attention.ROWS else None):
            hidden = self.transformer(**given).last_hidden_state
        tokens = hidden.reshape(-1, hidden.shape[-1])[index].float()
        features = {"token_embeddings": tokens, "attention_mask": mask}
        if self._has_head:
            features["input_ids"] = input_ids.reshape(-1)[index]
        for module in self.rest:
            features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        return vectors[:, : self._dimensions] if vectors.shape[1] > self._dimensions else vectors

    def _apart(self, segments: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """What tells the transformer which tokens belong together."""
        if self._attention is Attention.VARLEN:
            return _bounds(mask, segments.shape[1])
        return {"attention_mask": (segments > 0).long()}


_segments: ContextVar[torch.Tensor | None] = ContextVar("_segments", default=None)


@contextmanager
def packed_masks(segments: torch.Tensor | None) -> Iterator[None]:
    """Keep the texts of each row apart in the masks that a transformer makes for its layers, on this thread.

    Args:
        segments: int64 [rows, width], the text that each token belongs to; None leaves the masks as they are.
    """
    before = _segments.set(segments)
    try:
        yield
    finally:
        _segments.reset(before)


def _mask(
    usual: Callable[..., torch.Tensor | None],
    *,
    mask_function: Callable[..., torch.Tensor],
    dtype: torch.dtype,
    **given: Any,
) -> torch.Tensor | None:
    """A layer's mask as transformers asks for it: `usual`, or, in `packed_masks`, 0 to attend and the least number not.

    `mask_function` says whether a query may attend to a key, by their places in the row: [1, 1, width, width].
    """
    segments = _segments.get()
    if segments is None:
        return usual(mask_function=mask_function, dtype=dtype, **given)
    same = segments[:, None, :, None] == segments[:, None, None, :]
    if mask_function is not bidirectional_mask_function:
        rows, places = _counted(segments[:, 0])[:, None, None, None], _counted(segments[0])
        same = same & mask_function(rows, places.new_zeros((1, 1, 1, 1)), places[:, None], places)
    return torch.where(same, 0.0, torch.finfo(dtype).min).to(dtype)


def _counted(values: torch.Tensor) -> torch.Tensor:
    """0, 1, 2 and so on for values [n]; without asking for n, which OpenVINO would wait for."""
    return (values * 0 + 1).cumsum(0) - 1


AttentionMaskInterface.register("sdpa", partial(_mask, sdpa_mask))
AttentionMaskInterface.register("eager", partial(_mask, eager_mask))


def padding_matters(modules: Sequence[Any], rules: Rules) -> bool:
    """Whether a text's vector changes with the padding behind it, as where a model mixes tokens without a mask."""
    texts = sample(rules.max_tokens, modules[0].model)
    expected = alone(modules, texts, rules)
    rows = [_features(tokens, rules, modules[0].model.device) for tokens in texts]
    padded: dict[str, Any] = {}
    for name in rows[0]:
        filling = rules.pad_id if name == "input_ids" else 0
        parts = [row[name][0] for row in rows]
        padded[name] = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=filling)
    with torch.inference_mode():
        found = run_modules(modules, padded)
    nearest = SAME if modules[0].model.dtype == torch.float32 else ROUNDED
    return not agreement(expected, found) >= nearest


def tensors(found: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Arrays as tensors on the CPU that share their memory."""
    return {name: torch.from_numpy(array) for name, array in found.items()}


def find_packing(modules: Sequence[Any], rules: Rules, attention: Attention) -> Rules:
    """The rules and how to pack, if a model of these modules can by this attention; else the rules as given."""
    transformer = modules[0].model
    texts = sample(rules.max_tokens, transformer)
    expected = alone(modules, texts, rules)
    row = Frame(sum(map(len, texts)) + 3, (tuple(range(len(texts))),))
    best, nearest = rules, SAME if transformer.dtype == torch.float32 else ROUNDED
    for uncounted in dict.fromkeys((None, _uncounted_id(transformer))):
        first = 0 if uncounted is None else uncounted + 1
        tried = rules.model_copy(update={"packs": True, "first_position": first, "uncounted_id": uncounted})
        try:
            found = _vectors(modules, row, texts, tried, attention)
        except Exception:  # noqa: BLE001, S112 - whatever an architecture says of such a row, it is a no
            continue
        near = agreement(expected[:, : rules.dimensions], found)
        if near >= nearest:
            best, nearest = tried, near
    return best


def sample(most: int, transformer: Any) -> list[Tokens]:
    """Texts of several lengths up to `most` tokens, of token ids that any vocabulary has.

    Where the transformer gives a position to all ids but one, that one is in every text of four tokens or more.
    """
    uncounted = _uncounted_id(transformer)
    lengths = (max(LENGTHS[0], _window(transformer.config)), *LENGTHS[1:])
    texts = [
        [5 + (7 * number + step) % 90 for step in range(min(length, most))] for number, length in enumerate(lengths)
    ]
    if uncounted is not None:
        for ids in texts:
            ids[2:-1:5] = [uncounted] * len(ids[2:-1:5])
    return [Tokens(tuple(ids)) for ids in texts]


def alone(modules: Sequence[Any], texts: Sequence[Tokens], rules: Rules) -> torch.Tensor:
    """The model's own vectors, float32 [texts, dimensions]: each text by itself, without padding."""
    with torch.inference_mode():
        return torch.cat([run_modules(modules, _features(tokens, rules, modules[0].model.device)) for tokens in texts])


def _features(tokens: Tokens, rules: Rules, device: torch.device) -> dict[str, Any]:
    ids = torch.tensor([tokens.ids], device=device)
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return found | {"token_type_ids": torch.zeros_like(ids)} if rules.wants_type_ids else found


def run_modules(modules: Sequence[Any], features: dict[str, Any]) -> torch.Tensor:
    """Vectors float32 [rows, dimensions] of one text a row, by the library's own modules, all but the first in float32.

    Args:
        modules: of a sentence-transformers model whose first one is a transformer.
        features: `input_ids` and `attention_mask`, and `token_type_ids` and `prompt_length` where there are any.
    """
    features = modules[0](features)
    features["token_embeddings"] = features["token_embeddings"].float()
    for module in modules[1:]:
        features = module.float()(features)
    vectors: torch.Tensor = features["sentence_embedding"]
    return vectors


def least_cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    """Between vectors row by row; NaN where there is one."""
    return float(torch.nn.functional.cosine_similarity(left, right).min())


def agreement(left: torch.Tensor, right: torch.Tensor) -> float:
    """Between vectors the least cosine; between scores [texts, 1], which have no angle, 1 less the largest difference.

    The difference is relative to the largest score where that is above 1.
    """
    if left.shape[1] > 1:
        return least_cosine(left, right)
    return float(1 - (left - right).abs().max() / left.abs().max().clamp(min=1.0))


def _window(config: Any) -> int:
    """Tokens of a text that is longer than a layer's window of attention; 0 without one, or where it is wide."""
    window = getattr(config, "sliding_window", None) or 0
    return window + LENGTHS[1] if 0 < window <= WIDEST_WINDOW else 0


def _uncounted_id(transformer: Any) -> int | None:
    """The token id for which RoBERTa and its kin count no position; not always the one that the tokenizer pads with.

    Positions begin behind it there.
    """
    found: int | None = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
    return found


def _vectors(
    modules: Sequence[Any], frame: Frame, texts: Sequence[Tokens], rules: Rules, attention: Attention
) -> torch.Tensor:
    pipeline = Pipeline(modules, attention, rules.dimensions)
    device = pipeline.transformer.device
    given = {name: tensor.to(device) for name, tensor in tensors(arrays(frame, texts, rules)).items()}
    with torch.inference_mode(), _varlen_used_by(pipeline.transformer, on=attention is Attention.VARLEN):
        found: torch.Tensor = pipeline(**given)
    return found


def _bounds(mask: torch.Tensor, width: int) -> dict[str, Any]:
    """What `_attend` needs: where each text begins and ends, int32, the row's end last; and the longest one's tokens.

    Args:
        mask: int64 [texts, longest], 1 for a token.
        width: tokens of the row. What lies behind the last text, at most as much as the longest, is a text of its own.
    """
    ends = functional.pad(mask.sum(1).cumsum(0), (1, 1))
    ends[-1] = width
    return {"attention_mask": None, "bounds": ends.to(torch.int32), "longest": mask.shape[1]}


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 - the library's signature; the bounds say it all
    *,
    bounds: torch.Tensor,
    longest: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """The attention of one layer, as transformers calls it: [1, heads, T, d] each, to [1, T, heads, d].

    Raises:
        NotImplementedError: the layer changes its scores in a way that the kernel does not.
    """
    changed = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if changed:
        msg = f"attention of variable length knows no {changed[0]}"
        raise NotImplementedError(msg)
    causal = bool(getattr(module, "is_causal", False))
    before = sliding_window - 1 if sliding_window else -1  # as in transformers, the token itself is part of it
    window = (before, 0 if causal else before)
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - not every torch that runs on a CPU has it

        queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))
        found = varlen_attn(
            queries,
            keys,
            values,
            bounds,
            bounds,
            longest,
            longest,
            scale=scaling,
            window_size=window,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return torch.as_tensor(found)[None], None
    sizes = bounds.diff().tolist()
    apart = zip(*(torch.split(part, sizes, dim=2) for part in (query, key, value)), strict=True)
    texts = [_attend_alone(*parts, scaling=scaling, window=window) for parts in apart]
    return torch.cat(texts, dim=2).transpose(1, 2), None


def _attend_alone(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float | None, window: tuple[int, int]
) -> torch.Tensor:
    """The attention of one text; `window`: how far a token looks back and ahead, -1 for all the way."""
    places = torch.arange(query.shape[2], device=query.device)
    back = places[:, None] - places
    before, after = (reach if reach >= 0 else len(places) for reach in window)
    seen = (back <= before) & (back >= -after)
    return functional.scaled_dot_product_attention(
        query, key, value, seen, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


@contextmanager
def _varlen_used_by(transformer: Any, *, on: bool = True) -> Iterator[None]:
    """Let a transformer attend this way for a while, if `on`."""
    usual = transformer.config._attn_implementation  # noqa: SLF001 - there is no other way to ask
    if on:
        use_varlen(transformer)
    try:
        yield
    finally:
        transformer.set_attn_implementation(usual)


def use_varlen(transformer: Any) -> None:
    """Let a transformer attend this way from now on."""
    AttentionInterface.register(NAME, _attend)
    transformer.set_attn_implementation(NAME)
