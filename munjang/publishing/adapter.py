"""Adapters (LoRA): a staged folder that holds one gets the whole model, its base with the adapter merged into it.

The base is found as every model is (`source.find_source`), by the name that the adapter was trained with.
"""

from __future__ import annotations

import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigurationError, UnsupportedModel
from munjang.publishing.pickles import convert_pickled
from munjang.publishing.safety import check_code, check_fetched, check_pickled
from munjang.publishing.source import find_source, first_line
from munjang.publishing.staging import put, read_json, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def merge_adapter(stage: Path, *, tell: Callable[[str], None] = lambda _: None) -> None:
    """Put the whole model in the place of an adapter, if the staged folder holds one.

    Args:
        stage: the staged folder.
        tell: told in a sentence what is done.

    Raises:
        ForbiddenFile: the weights of its base are a pickle that may not be read.
        UnsupportedModel: it is no adapter that merges, or its base is not a model that is served.
        ConfigurationError: peft is not installed, or the base is not within reach.
    """
    for path in sorted(stage.rglob(CONFIG)):
        shown = path.relative_to(stage).as_posix()
        if not (path.parent / WEIGHTS).is_file():
            msg = f"{shown} belongs to an adapter (LoRA), and its weights, {WEIGHTS}, are not there"
            raise UnsupportedModel(msg)
        _merge(path.parent, shown, tell)


def _merge(place: Path, shown: str, tell: Callable[[str], None]) -> None:
    config = read_json(place / CONFIG)
    base = str(config.get("base_model_name_or_path") or "") if isinstance(config, dict) else ""
    if not base:
        msg = f"{shown} does not name the model that the adapter was trained on (base_model_name_or_path)"
        raise UnsupportedModel(msg)
    if find_spec("peft") is None:
        msg = f"{shown} belongs to an adapter (LoRA) of {base}; merging it takes peft: pip install 'munjang[trainer]'"
        raise ConfigurationError(msg)
    revision = "" if Path(base).expanduser().is_dir() else str(config.get("revision") or "")
    try:
        source = find_source(base, revision, tell=tell)
    except ConfigurationError as error:
        msg = f"{shown} belongs to an adapter (LoRA) of {base}, which is not to be had: {error}"
        raise ConfigurationError(msg) from error
    check_fetched(source.folder)
    check_pickled(source.folder, convertible=True)
    check_code(source.folder)
    tell(f"merging the adapter into its base, {base}")
    with staged(source.folder) as whole:
        convert_pickled(source.folder, whole.folder, tell=tell)
        with tempfile.TemporaryDirectory(prefix="munjang-merged-") as temporary:
            _save_merged(_transformer_of(whole.folder), place, Path(temporary), shown)
            for old in [*place.glob("*.safetensors"), place / CONFIG, place / "config.json"]:
                old.unlink(missing_ok=True)
            for new in Path(temporary).iterdir():
                put(new, place / new.name)
        for name in _tokenizer_files(_transformer_of(whole.folder)):
            if not (place / name.name).exists():
                put(name, place / name.name)


def _save_merged(base: Path, adapter: Path, target: Path, shown: str) -> None:
    import peft  # noqa: PLC0415 - seconds of import, for adapters only
    from transformers import AutoModel  # noqa: PLC0415 - the same

    try:
        model = AutoModel.from_pretrained(
            str(base), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="auto"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Found missing adapter keys")
            merged: Any = peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=False).merge_and_unload()
    except Exception as error:
        msg = (
            f"{shown}: the adapter cannot be merged into its base: {first_line(error)}. Merge it in the program that "
            f"trained it (merge_and_unload), and save the whole model"
        )
        raise UnsupportedModel(msg) from error
    merged.save_pretrained(str(target))


def _transformer_of(folder: Path) -> Path:
    """Where the transformer of a folder lies: a base may be a sentence-transformers folder itself."""
    modules = read_json(folder / "modules.json")
    return folder / str(modules[0].get("path", "")) if isinstance(modules, list) and modules else folder


def _tokenizer_files(folder: Path) -> Iterator[Path]:
    weights = {"config.json", "modules.json", "config_sentence_transformers.json", "README.md"}
    for path in sorted(folder.iterdir()):
        named = path.name.startswith("sentence_") or ".safetensors" in path.name
        if path.is_file() and path.name not in weights and not named:
            yield path
