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
from trainer.starter.publish import Outcome, promote_first, publish_folder, published

if TYPE_CHECKING:
    from munjang.registry import Registry
    from trainer.starter.publish import Reporter

RECIPE = "as it came"


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
        ConfigurationError: there is no such folder, or no such model within reach.
        UnsupportedModel: it needs code of its own.
        ModelLoadFailed: it cannot be run.
        RegistryError: the registry could not take it.
    """
    source = Path(name).expanduser()
    done = report.step(f"loading {name}")
    if source.is_dir():
        check_code(source)
        model, base_model = _load(str(source.resolve()), name), source.resolve().name
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        msg = f"MUNJANG_MODEL: there is no folder {name}"
        raise ConfigurationError(msg, field="model")
    else:
        model, base_model = _load(name, name), name
    done(0)
    with tempfile.TemporaryDirectory(prefix="munjang-model-") as temporary:
        folder = Path(temporary)
        model.save_pretrained(temporary, create_model_card=False)
        lineage = Lineage(base_model=base_model, recipe=RECIPE, data_fingerprint=_fingerprint(folder))
        known = None if force else published(registry, lineage)
        version = known or publish_folder(registry, folder, lineage, report).version
    return Outcome(version, not known, promote_first(registry, version, promote))


def _load(location: str, name: str) -> Any:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy, and only this way needs it

    try:
        return SentenceTransformer(location, device="cpu", trust_remote_code=False)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        msg = (
            f"MUNJANG_MODEL: {name} cannot be loaded: {reason}. It must be a folder, or a model in the hub's cache or "
            f"on a hub within reach (HF_HUB_OFFLINE unset), of a kind that needs no code of its own"
        )
        raise ConfigurationError(msg, field="model") from error


def _fingerprint(folder: Path) -> str:
    """A hash of the saved model: names and bytes of its files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(f"{path.relative_to(folder)}\n".encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
