"""A cross-encoder in the form of a dense model: a transformer, and modules that make a score of its token vectors.

So it runs as dense models do: packed, traced, on a GPU without padding. The score is a vector of one component.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.sentence_transformer.modules import Transformer
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from munjang.encoder.contract import ModelInfo
from munjang.encoder.model_rules import UNLIMITED_TOKENS
from munjang.encoder.postprocess import ACTIVATIONS
from munjang.encoder.torch_runtime.open_folder import open_folder
from munjang.errors import UnsupportedModel
from munjang.kinds import ModelKind
from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from pathlib import Path

CLASSIFICATION = "sequence-classification"
"""The task of a transformer of sentence-transformers that ends in a head of scores."""

SAME = 1e-4
"""The most that a raw score may differ, in float32, from that of the whole model; relative where it is above 1."""

ROUNDED = 0.05
"""The same in a shorter number format."""


class Backbone(torch.nn.Module):
    """The transformer of a classifier, without its head.

    Attributes:
        model: the transformer itself.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add `token_embeddings` [texts, tokens, hidden] to the features."""
        given = {name: features[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in features}
        return features | {"token_embeddings": self.model(**given).last_hidden_state}


class Head(torch.nn.Module):
    """A classifier whose transformer was taken out: it makes scores [texts, 1] of token vectors.

    Heads of decoders look for the last token by its id, so `input_ids` are among the features that it reads.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier
        self._pad_id = classifier.config.get_text_config().pad_token_id or 0

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add `scores` [texts, 1] to the features."""
        mask = features["attention_mask"]
        ids = torch.where(mask > 0, features["input_ids"], self._pad_id)
        found = self.classifier(input_ids=ids, attention_mask=mask, inputs_embeds=features["token_embeddings"])
        return features | {"scores": found.logits}


class Score(torch.nn.Module):
    """Names a cross-encoder's scores as a dense model's vectors are named."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add `sentence_embedding` [texts, 1]."""
        return features | {"sentence_embedding": features["scores"].reshape(-1, 1)}


class _Given(torch.nn.Module):
    """Stands in the place of a classifier's transformer, and gives the token vectors that it is given itself.

    Classifiers hand `inputs_embeds` on to their transformer; some read its pooled vector, which is made here.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.pooler = copy.deepcopy(getattr(transformer, "pooler", None))
        self.activation = getattr(transformer, "pooler_activation", None)  # ALBERT has it apart

    def forward(
        self, *_: object, inputs_embeds: torch.Tensor, **__: object
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        pooled = None
        if self.pooler is not None and self.activation is not None:
            pooled = self.activation(self.pooler(inputs_embeds[:, 0]))
        elif self.pooler is not None:
            pooled = self.pooler(inputs_embeds)
        return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=inputs_embeds, pooler_output=pooled)


def load_cross_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The folder as a `CrossEncoder` of one score, whose own limit on tokens stands until `settle_limits`.

    Raises:
        ModelLoadFailed: it cannot be loaded.
        UnsupportedModel: it makes other scores, or reads its pairs in another way, than is served.
    """
    model = open_folder(CrossEncoder, "cross-encoder", folder, device, dtype)
    first = model[0]
    if model.num_labels != 1:
        msg = f"the cross-encoder makes {model.num_labels} scores of a pair; only those that make one are served"
    elif not isinstance(first, Transformer) or not getattr(first.tokenizer, "is_fast", False):
        msg = "only cross-encoders whose first module is a transformer with a fast tokenizer are served"
    elif "message" in first.modality_config or first.modality_config.get("text", {}).get("method") != "forward":
        msg = "the cross-encoder puts its pairs into a chat template; only those that read them plainly are served"
    elif first.processing_kwargs:
        msg = f"the processing_kwargs of its transformer ask for {first.processing_kwargs}, which is not served"
    elif activation_of(model) not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        msg = f"its activation is {type(model.activation_fn).__name__}; there are {known}"
    else:
        return model
    raise UnsupportedModel(msg)


def activation_of(model: Any) -> str:
    """The name of a cross-encoder's own activation."""
    return type(model.activation_fn).__name__.lower()


def info_of_cross_encoder(model: Any) -> ModelInfo:
    """What callers may know of a loaded `CrossEncoder`."""
    return ModelInfo(
        dimensions=1,
        max_tokens=int(min(model.max_seq_length or UNLIMITED_TOKENS, UNLIMITED_TOKENS)),
        similarity="",
        prompts={name: prompt or "" for name, prompt in model.prompts.items()},
        default_prompt=model.default_prompt_name or "",
        kind=ModelKind.CROSS_ENCODER,
        activation=activation_of(model),
    )


def in_dense_form(model: Any) -> list[Any]:
    """The modules of a `CrossEncoder` as those of a dense model whose vectors have one component, its raw score.

    The model itself cannot be used afterwards: its classifier is taken apart.

    Raises:
        UnsupportedModel: its head needs more than the last token vectors, or its modules make no score.
    """
    pairs = list(zip(SENTENCES[:4], SENTENCES[-4:], strict=True))
    given = model.preprocess(pairs)
    features = {name: value.to(model.device) for name, value in given.items() if isinstance(value, torch.Tensor)}
    with torch.inference_mode():
        expected = model(dict(features)).get("scores")
    if expected is None:
        msg = "the modules of the cross-encoder make no scores: it needs a classifier, or a Dense named 'scores'"
        raise UnsupportedModel(msg)
    first, *rest = model
    if first.transformer_task == CLASSIFICATION:
        classifier = first.model
        transformer = classifier.base_model
        setattr(classifier, classifier.base_model_prefix, _Given(transformer))
        modules = [Backbone(transformer), Head(classifier), *rest, Score()]
    else:
        modules = [Backbone(first.model), *rest, Score()]
    for module in modules:
        module.eval()
    _check(modules, features, expected)
    return modules


def _check(modules: list[Any], features: dict[str, Any], expected: torch.Tensor) -> None:
    """Hold the scores against those of the whole model."""
    most = SAME if expected.dtype == torch.float32 else ROUNDED
    try:
        with torch.inference_mode():
            for module in modules:
                features = module(features)
        found = features["sentence_embedding"].reshape(-1).float()
        near = torch.allclose(found, expected.reshape(-1).float(), rtol=most, atol=most)
    except Exception as error:
        msg = f"the head of the cross-encoder needs more than the last token vectors of its transformer: {error}"
        raise UnsupportedModel(msg) from error
    if not near:
        msg = "the head of the cross-encoder reads more than the last token vectors of its transformer"
        raise UnsupportedModel(msg)
