"""Publishes another first model than the starter: a folder or a model of the hub, as sentence-transformers loads it.

It is loaded without running code of its own and saved again, so that pickled weights, which are read as tensors only,
become safetensors, and a plain transformer gets the mean pooling that sentence-transformers gives it.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigurationError
from munjang.publishing import Lineage
from munjang.publishing.safety import check_code
from munjang_trainer.starter.publish import Outcome, promote_first, publish_folder, published

if TYPE_CHECKING:
    from munjang.registry import Registry
    from munjang_trainer.starter.publish import Reporter

RECIPE = "as it came"
HUB_SECONDS = 10.0


def publish_named(
    registry: Registry, report: Reporter, name: str, *, promote: bool | None = None, force: bool = False
) -> Outcome:
    """Load a model, save it with safetensors, and publish that.

    Args:
        registry: where to.
        report: who is told of the work.
        name: a folder, or a model's id on the hub.
        promote: whether `stable` shall name it; None: only if it names nothing yet.
        force: publish even if the registry has this very model.

    Raises:
        ConfigurationError: there is no such folder, no such model within reach, or it cannot be loaded.
        UnsupportedModel: it needs code of its own.
        ModelLoadFailed: it cannot be run.
        RegistryError: the registry could not take it.
    """
    done = report.step(f"loading {name}")
    model, base_model = _load(name)
    done(0)
    with tempfile.TemporaryDirectory(prefix="munjang-model-") as temporary:
        folder = Path(temporary)
        model.save_pretrained(temporary, create_model_card=False)
        lineage = Lineage(base_model=base_model, recipe=RECIPE, data_fingerprint=_fingerprint(folder))
        known = None if force else published(registry, lineage)
        version = known or publish_folder(registry, folder, lineage, report).version
    return Outcome(version, not known, promote_first(registry, version, promote))


def _load(name: str) -> tuple[Any, str]:
    """The model, and what to call it: a folder's own name, or the hub's id."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_code(folder)
        return _sentence_transformer(str(folder.resolve()), name, local=True), folder.resolve().name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        msg = f"MUNJANG_MODEL: there is no folder {name}"
        raise ConfigurationError(msg, field="model")
    try:
        return _sentence_transformer(name, name, local=True), name
    except ConfigurationError:  # not, or not all of it, in the hub's cache
        _ask_hub(name)
        return _sentence_transformer(name, name, local=False), name


def _sentence_transformer(location: str, name: str, *, local: bool) -> Any:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy, and only this way needs it

    try:
        return SentenceTransformer(location, device="cpu", trust_remote_code=False, local_files_only=local)
    except Exception as error:
        msg = f"MUNJANG_MODEL: {name} cannot be loaded: {_first_line(error)}"
        raise ConfigurationError(msg, field="model") from error


def _ask_hub(name: str) -> None:
    """Fail at once where the hub cannot be reached or does not know the model; loading would try for a minute."""
    import huggingface_hub  # noqa: PLC0415 - comes with sentence-transformers

    try:
        huggingface_hub.model_info(name, timeout=HUB_SECONDS)
    except Exception as error:
        msg = (
            f"MUNJANG_MODEL: {name} is no folder and not in the hub's cache, and the hub does not give it: "
            f"{_first_line(error)}. Name a folder, or try again where the hub is within reach"
        )
        raise ConfigurationError(msg, field="model") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _fingerprint(folder: Path) -> str:
    """A hash of the saved model: names and bytes of its files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(f"{path.relative_to(folder)}\n".encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
