"""What a model folder must not be before it is loaded.

Code to run, pickled weights, weights that are not finite; a model of another kind than dense, or a part of one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedModel
from munjang.publishing.source import WEIGHTS
from munjang.registry.layout import ALLOWED_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRUSTED = "sentence_transformers."
"""Where the modules of a model may come from."""

KINDS = {
    "CrossEncoder": "a cross-encoder, which scores pairs of texts",
    "SparseEncoder": "a sparse model (SPLADE), which weighs words",
    "MultiVectorEncoder": "a multi-vector model (ColBERT), which makes a vector of each token",
}
"""The kinds of models that are not served, by the name of their class in sentence-transformers."""

MARKS = {
    "CrossEncoder": ("sentence_transformers.cross_encoder.", "ForSequenceClassification", "LogitScore"),
    "SparseEncoder": (
        *("sentence_transformers.sparse_encoder.", "SpladePooling", "MLMTransformer", "SparseAutoEncoder"),
        *("SparseStaticEmbedding", "CSRSparsity", "IDF"),
    ),
    "MultiVectorEncoder": ("sentence_transformers.multi_vector_encoder.", "pylate.", "ColBERT", "MultiVectorMask"),
}
"""How such a model shows in its modules and architectures: how a name begins or ends."""

PICKLED = re.compile(r"(pytorch_model|adapter_model|tf_model|flax_model|model)[^/]*\.(bin|pt|pth|ckpt|pkl|h5|msgpack)")
"""Files that hold weights in another form than safetensors; training leaves others beside them, which are left out."""

POINTER = b"version https://git-lfs"
"""How a file begins that git-lfs has put in the place of a large one."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that is no whole dense model, needs code of its own, or has other weights than safetensors.

    Raises:
        UnsupportedModel: it is no sentence-transformers folder of a dense model, or asks for code.
        ForbiddenFile: its weights are pickled, or git-lfs has not fetched a file.
    """
    check_fetched(folder)
    _check_adapter(folder)
    check_pickled(folder)
    _check_shards(folder)
    check_kind(folder)
    if not (folder / "modules.json").is_file():
        msg = (
            f"{folder} is not a sentence-transformers folder: there is no modules.json in it, and so no pooling. "
            f"`munjang versions publish` takes the pooling that it was trained with by --pooling; or save it with "
            f"SentenceTransformer(modules=[Transformer(folder), Pooling(dimensions, pooling_mode='mean')])"
        )
        raise UnsupportedModel(msg)
    check_code(folder)


def check_kind(folder: Path) -> None:
    """Refuse a folder that says to be another model than a dense one.

    Raises:
        UnsupportedModel: it does.
    """
    for path, content in _configurations(folder):
        named = list(_module_types(path, content))
        declared = content.get("model_type") if isinstance(content, dict) else None
        if path.name == "config_sentence_transformers.json" and declared not in {None, "", "SentenceTransformer"}:
            named.append(str(declared))
        elif path.name == "config.json" and isinstance(content, dict):
            named += map(str, content.get("architectures") or [])
        for name in named:
            kind = next((kind for kind, marks in MARKS.items() if _is_marked(name, (kind, *marks))), None)
            if kind is not None or name == declared:
                what = KINDS.get(kind or "", "another model")
                msg = f"{path} names {name}: this is {what}, and only dense models (SentenceTransformer) are served"
                raise UnsupportedModel(msg)


def _is_marked(name: str, marks: tuple[str, ...]) -> bool:
    return name.startswith(marks) or name.endswith(marks)


def check_fetched(folder: Path) -> None:
    """Refuse a folder in which git-lfs has put a pointer in the place of a file that is needed.

    Raises:
        ForbiddenFile: it has.
    """
    for path in sorted(folder.rglob("*")):
        needed = path.suffix in ALLOWED_SUFFIXES or _is_pickled(path)
        if needed and path.is_file() and _begins_with(path, POINTER):
            name = path.relative_to(folder)
            msg = f"{name} is a pointer of git-lfs in place of the file: run git lfs pull in the folder"
            raise ForbiddenFile(msg)


def check_pickled(folder: Path, *, convertible: bool = False) -> None:
    """Refuse a folder whose weights are pickled.

    Args:
        folder: the folder.
        convertible: let pass those of PyTorch, which publishing converts.

    Raises:
        ForbiddenFile: they are.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or not _is_pickled(path) or (convertible and WEIGHTS.fullmatch(path.name)):
            continue
        if path.name.startswith("adapter_model."):
            msg = (
                f"{name} belongs to an adapter (LoRA) and is a pickle, which can run code when it is read: save the "
                f"adapter again with save_pretrained, which writes adapter_model.safetensors"
            )
            raise ForbiddenFile(msg)
        msg = (
            f"{name} holds pickled weights, which can run code when they are read: load the model and save it again "
            f"with model.save_pretrained(folder), which writes safetensors. `munjang versions publish` converts "
            f"pytorch_model.bin itself"
        )
        raise ForbiddenFile(msg)


def _is_pickled(path: Path) -> bool:
    """Whether a file stands in the place of weights as safetensors; beside them it is left out."""
    return bool(PICKLED.fullmatch(path.name)) and not any(path.parent.glob("*.safetensors"))


def _check_adapter(folder: Path) -> None:
    """Refuse weights that are those of an adapter alone."""
    for path in sorted(folder.rglob("adapter_*")):
        if path.name in {"adapter_config.json", "adapter_model.safetensors"}:
            msg = (
                f"{path.relative_to(folder)} belongs to an adapter (LoRA), and its base model is not in the folder: "
                f"`munjang versions publish` merges them; or load it with sentence-transformers, call "
                f"merge_and_unload() of its transformer, and save the whole model"
            )
            raise UnsupportedModel(msg)


def _check_shards(folder: Path) -> None:
    """Refuse a folder that lacks a part of its weights."""
    for path in sorted(folder.rglob("*.safetensors.index.json")):
        content = _json(folder, path)
        parts = content.get("weight_map") if isinstance(content, dict) else None
        for part in sorted(set(parts.values())) if isinstance(parts, dict) else []:
            if not (path.parent / str(part)).is_file():
                msg = f"{path.relative_to(folder)} names {part}, which is not in the folder: finish its download"
                raise ForbiddenFile(msg)


def _begins_with(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


def check_code(folder: Path) -> None:
    """Refuse a folder whose configuration names code of its own.

    Raises:
        UnsupportedModel: it does, or a configuration file is not valid.
    """
    for path, content in _configurations(folder):
        if isinstance(content, dict) and content.get("auto_map"):
            msg = f"{path} asks for code of the model's own (auto_map), which munjang never runs"
            raise UnsupportedModel(msg)
        for kind in _module_types(path, content):
            if not kind.startswith(TRUSTED):
                msg = f"{path} names the module {kind!r}; only modules of sentence-transformers itself are run"
                raise UnsupportedModel(msg)


def check_finite(folder: Path) -> None:
    """Read all weights, and refuse NaN and infinity.

    Raises:
        ModelLoadFailed: a tensor has such a value, or a file cannot be read.
    """
    import torch  # noqa: PLC0415 - heavy, and only publishers need it
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - the same

    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict, it has keys() only
                    tensor = file.get_tensor(name)
                    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                        msg = f"{name} in {path.name} has values that are not finite (NaN or infinity)"
                        raise ModelLoadFailed(msg)
        except (SafetensorError, OSError) as error:
            msg = f"{path.name} cannot be read as safetensors: {error}"
            raise ModelLoadFailed(msg) from error


def _configurations(folder: Path) -> Iterator[tuple[Path, Any]]:
    for path in sorted(folder.rglob("*.json")):
        if path.name not in {"tokenizer.json", "vocab.json"}:
            yield path.relative_to(folder), _json(folder, path)


def _json(folder: Path, path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        msg = f"{path.relative_to(folder)} is not valid JSON: {error}"
        raise UnsupportedModel(msg) from error


def _module_types(path: Path, content: Any) -> Iterator[str]:
    """The classes that sentence-transformers would import for this file."""
    if path.name == "modules.json" and isinstance(content, list):
        yield from (str(module.get("type", "")) for module in content if isinstance(module, dict))
    if path.name == "router_config.json" and isinstance(content, dict):
        yield from map(str, content.get("types", {}).values())
