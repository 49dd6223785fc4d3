"""What a model folder must not be before it is loaded: code to run, pickled weights, weights that are not finite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRUSTED = "sentence_transformers."
"""Where the modules of a model may come from."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that needs code of its own, or has its weights in another form than safetensors.

    Raises:
        UnsupportedModel: it is no sentence-transformers folder, or asks for code.
        ForbiddenFile: its weights are pickled.
    """
    if not (folder / "modules.json").is_file():
        msg = f"{folder} is not a sentence-transformers folder: there is no modules.json in it"
        raise UnsupportedModel(msg)
    check_code(folder)
    for path in sorted(folder.rglob("pytorch_model*.bin")):
        if not any(path.parent.glob("*.safetensors")):  # beside safetensors they are left out; here they stand in place
            msg = (
                f"{path.relative_to(folder)} holds pickled weights, which can run code when they are read: load the "
                f"model and save it again with model.save_pretrained(folder), which writes safetensors"
            )
            raise ForbiddenFile(msg)


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
        if path.name in {"tokenizer.json", "vocab.json"}:
            continue
        try:
            yield path.relative_to(folder), json.loads(path.read_bytes())
        except ValueError as error:
            msg = f"{path.relative_to(folder)} is not valid JSON: {error}"
            raise UnsupportedModel(msg) from error


def _module_types(path: Path, content: Any) -> Iterator[str]:
    """The classes that sentence-transformers would import for this file."""
    if path.name == "modules.json" and isinstance(content, list):
        yield from (str(module.get("type", "")) for module in content if isinstance(module, dict))
    if path.name == "router_config.json" and isinstance(content, dict):
        yield from map(str, content.get("types", {}).values())
