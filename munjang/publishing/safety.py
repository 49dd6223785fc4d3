"""What a model folder must not be before it is loaded.

Code to run, pickled weights, weights that are not finite; a part of a model. `kind` decides what kind of model it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedModel
from munjang.kinds import ModelKind
from munjang.publishing.kind import configurations, json_of, kind_of, module_types
from munjang.publishing.source import WEIGHTS
from munjang.registry.layout import ALLOWED_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

TRUSTED = "sentence_transformers."
"""Where the modules of a model may come from."""

PICKLED = re.compile(r"(pytorch_model|adapter_model|tf_model|flax_model|model)[^/]*\.(bin|pt|pth|ckpt|pkl|h5|msgpack)")
"""Files that hold weights in another form than safetensors; training leaves others beside them, which are left out."""

POINTER = b"version https://git-lfs"
"""How a file begins that git-lfs has put in the place of a large one."""


def check_folder(folder: Path) -> ModelKind:
    """Refuse a folder that is no whole model, needs code of its own, or has other weights than safetensors; its kind.

    Raises:
        UnsupportedModel: it is no folder of a model that is served, or asks for code.
        ForbiddenFile: its weights are pickled, or git-lfs has not fetched a file.
    """
    check_fetched(folder)
    _check_adapter(folder)
    check_pickled(folder)
    _check_shards(folder)
    kind = kind_of(folder)
    if kind is ModelKind.DENSE and not (folder / "modules.json").is_file():
        msg = (
            f"{folder} is not a sentence-transformers folder: there is no modules.json in it, and so no pooling. "
            f"`munjang versions publish` takes the pooling that it was trained with by --pooling; or save it with "
            f"SentenceTransformer(modules=[Transformer(folder), Pooling(dimensions, pooling_mode='mean')])"
        )
        raise UnsupportedModel(msg)
    check_code(folder)
    return kind


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
        content = json_of(folder, path)
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
    for path, content in configurations(folder):
        if isinstance(content, dict) and content.get("auto_map"):
            msg = f"{path} asks for code of the model's own (auto_map), which munjang never runs"
            raise UnsupportedModel(msg)
        for name in module_types(path, content):
            if not name.startswith(TRUSTED):
                msg = f"{path} names the module {name!r}; only modules of sentence-transformers itself are run"
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
