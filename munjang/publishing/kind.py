"""What makes a folder a model of which kind: decided here alone, from the files that say what it is.

By this order: `model_type` of config_sentence_transformers.json, the modules of modules.json and their tasks, the
architecture in config.json. Dense models and cross-encoders of one score are served. All others are refused by name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from munjang.errors import UnsupportedModel
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASSIFIER = "ForSequenceClassification"
"""How the architecture of a transformer with a head of scores ends."""

DECLARED = {
    "": ModelKind.DENSE,
    "SentenceTransformer": ModelKind.DENSE,
    "CrossEncoder": ModelKind.CROSS_ENCODER,
}
"""What `model_type` says of the kinds that are served; before sentence-transformers 5 there was none."""

REFUSED = {
    "a sparse model (SPLADE), which weighs words": (
        *("SparseEncoder", "sentence_transformers.sparse_encoder.", "SpladePooling", "MLMTransformer"),
        *("SparseAutoEncoder", "SparseStaticEmbedding", "CSRSparsity", "IDF"),
    ),
    "a multi-vector model (ColBERT), which makes a vector of each token": (
        *("MultiVectorEncoder", "sentence_transformers.multi_vector_encoder.", "pylate.", "ColBERT"),
        *("MultiVectorMask", "ColPali", "ColQwen", "ColIdefics"),
    ),
    "a generative cross-encoder, which asks a language model for a yes or a no": ("LogitScore",),
    "a model of images or sounds": (
        *("CLIPModel", "CLIPTextModel", "ChineseCLIPModel", "SiglipModel", "Siglip2Model", "ViTModel", "BlipModel"),
        *("VLForConditionalGeneration", "VLModel", "WhisperModel", "WhisperForConditionalGeneration", "ClapModel"),
        *("Wav2Vec2Model", "HubertModel", "ASTModel"),
    ),
}
"""Kinds that are not served, and how their modules and architectures show: how a name begins or ends."""

SERVED = "only dense models (SentenceTransformer) and cross-encoders with one score (CrossEncoder) are served"


class _Named(NamedTuple):
    """A name of a class that a file holds."""

    path: Path
    name: str


def kind_of(folder: Path) -> ModelKind:
    """The kind of model that a folder holds.

    Raises:
        UnsupportedModel: it is none that is served; or a configuration file is not valid, or contradicts another.
    """
    files = list(configurations(folder))
    declared = _declared(files)
    modules = [_Named(path, name) for path, content in files for name in module_types(path, content)]
    architectures = [_Named(path, name) for path, content in files for name in _architectures(path, content)]
    for named in [*([declared] if declared else []), *modules, *architectures]:
        for what, marks in REFUSED.items():
            if named.name.startswith(marks) or named.name.endswith(marks):
                raise _refusal(named, what)
    if declared and declared.name not in DECLARED:
        raise _refusal(declared, "another model")
    classifier = next((named for named in architectures if named.name.endswith(CLASSIFIER)), None)
    says_cross = declared is not None and DECLARED[declared.name] is ModelKind.CROSS_ENCODER
    if not (says_cross or classifier or _scores(files)):
        return ModelKind.DENSE
    pooling = next((named for named in modules if named.name.endswith("Pooling")), None)
    if pooling and not says_cross:
        named = classifier or pooling
        raise _refusal(named, f"a cross-encoder, and {pooling.path} puts a pooling behind it as in a dense model")
    if not pooling:
        _check_head(files, classifier, architectures)
    return ModelKind.CROSS_ENCODER


def check_dense(folder: Path) -> None:
    """Refuse a folder that holds another model than a dense one.

    Raises:
        UnsupportedModel: it does.
    """
    if kind_of(folder) is not ModelKind.DENSE:
        msg = f"{folder} is a cross-encoder, which scores pairs of texts, and a dense model is needed here"
        raise UnsupportedModel(msg)


def configurations(folder: Path) -> Iterator[tuple[Path, Any]]:
    """The configuration files of a folder: relative path and content.

    Raises:
        UnsupportedModel: one is not valid JSON.
    """
    for path in sorted(folder.rglob("*.json")):
        if path.name not in {"tokenizer.json", "vocab.json"}:
            yield path.relative_to(folder), json_of(folder, path)


def json_of(folder: Path, path: Path) -> Any:
    """What a file of a folder says.

    Raises:
        UnsupportedModel: it is not valid JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        msg = f"{path.relative_to(folder)} is not valid JSON: {error}"
        raise UnsupportedModel(msg) from error


def module_types(path: Path, content: Any) -> Iterator[str]:
    """The classes that sentence-transformers would import for this file."""
    if path.name == "modules.json" and isinstance(content, list):
        yield from (str(module.get("type", "")) for module in content if isinstance(module, dict))
    if path.name == "router_config.json" and isinstance(content, dict):
        yield from map(str, content.get("types", {}).values())


def _declared(files: list[tuple[Path, Any]]) -> _Named | None:
    for path, content in files:
        if path.name == "config_sentence_transformers.json" and isinstance(content, dict):
            return _Named(path, str(content.get("model_type") or ""))
    return None


def _architectures(path: Path, content: Any) -> Iterator[str]:
    if path.name == "config.json" and isinstance(content, dict):
        yield from map(str, content.get("architectures") or [])


def _scores(files: list[tuple[Path, Any]]) -> bool:
    """Whether a module's own configuration says that its transformer makes scores."""
    return any(
        path.match("sentence_*_config.json")
        and isinstance(content, dict)
        and content.get("transformer_task") == "sequence-classification"
        for path, content in files
    )


def _check_head(files: list[tuple[Path, Any]], classifier: _Named | None, architectures: list[_Named]) -> None:
    """Refuse a cross-encoder whose transformer has no head, or one of several scores."""
    if classifier is None:
        named = architectures[0] if architectures else _Named(files[0][0], "no architecture")
        generates = named.name.endswith(("ForCausalLM", "ForConditionalGeneration"))
        what = "a generative cross-encoder" if generates else f"a cross-encoder without a head ({CLASSIFIER})"
        raise _refusal(named, what)
    config = next(content for path, content in files if path == classifier.path)
    labels = config.get("num_labels") or len(config.get("id2label") or "01")  # two, where transformers finds nothing
    if labels != 1:
        raise _refusal(classifier, f"a classifier of {labels} labels, or a cross-encoder of as many scores")


def _refusal(named: _Named, what: str) -> UnsupportedModel:
    return UnsupportedModel(f"{named.path} names {named.name}: this is {what}, and {SERVED}")
