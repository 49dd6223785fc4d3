"""Where a model comes from: a folder of this machine, or a model of the Hugging Face hub. Decided here, nowhere else.

A folder that exists wins over a hub id of the same name. Of the hub only the files that a version can hold are
downloaded; without a network, or with HF_HUB_OFFLINE=1, its cache is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang.publishing.staging import belongs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HUB_SECONDS = 10.0
"""How long the hub may take to say what a model consists of."""

HUB_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+", re.ASCII)
PATH_LIKE = (".", "/", "~")
COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS = re.compile(r"pytorch_model[^/]*\.bin")
"""Pickled weights of PyTorch, which publishing can convert."""


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a model on this machine.

    Attributes:
        folder: where they lie.
        name: what to call the model: its id on the hub, or the folder as it was named.
        hub_id: its id on the hub; empty for a folder.
        revision: the commit on the hub; empty for a folder.
    """

    folder: Path
    name: str
    hub_id: str = ""
    revision: str = ""

    @property
    def size_bytes(self) -> int:
        """The sum of the sizes of its files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def find_source(
    name: str, revision: str = "", *, usual_revision: str = "", tell: Callable[[str], None] = lambda _: None
) -> Source:
    """The files of a model by its name, downloaded if it is one of the hub and they are not here yet.

    Args:
        name: a folder, or an id on the hub (`nlpai-lab/KURE-v1`).
        revision: a branch, tag or commit of the hub; empty: see `usual_revision`.
        usual_revision: what to take of the hub where `revision` is empty and it is within reach; empty: `main`.
        tell: told in a sentence where the model is taken from.

    Raises:
        ConfigurationError: there is no such folder, and no such model within reach.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision:
            msg = f"{name} is a folder here, and a revision ({revision}) is for models of the hub only"
            raise ConfigurationError(msg, field="revision")
        if HUB_ID.fullmatch(name) and "/" in name and not name.startswith("."):
            tell(f"{name} is a folder here: it is taken, not the model of the hub that may have the same name")
        return Source(folder, name)
    if folder.exists():
        msg = f"{name} is a file: name the folder that it lies in, or a model of the hub"
        raise ConfigurationError(msg, field="model")
    if name.startswith(PATH_LIKE) or not HUB_ID.fullmatch(name):
        msg = f"there is no folder {name}, and this is not how a model of the hub is named (owner/name)"
        raise ConfigurationError(msg, field="model")
    source = _of_hub(name, revision, usual_revision)
    tell(f"{name} of the hub, at commit {source.revision[:12]}")
    return source


def _of_hub(name: str, revision: str, usual_revision: str) -> Source:
    from huggingface_hub import HfApi  # noqa: PLC0415 - a folder needs nothing of it
    from huggingface_hub.errors import (  # noqa: PLC0415 - the same
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = HfApi().model_info(name, revision=revision or usual_revision or None, timeout=HUB_SECONDS)
    except GatedRepoError as error:
        raise _gated(name) from error
    except RevisionNotFoundError as error:
        msg = f"{name} has no revision {revision or usual_revision!r} on the hub: name a branch, a tag or a commit"
        raise ConfigurationError(msg, field="revision") from error
    except RepositoryNotFoundError as error:
        msg = (
            f"there is no folder {name}, and the hub has no such model, or shows it to its owners only (then give your "
            f"token by `hf auth login` or HF_TOKEN)"
        )
        raise ConfigurationError(msg, field="model") from error
    except Exception as error:  # noqa: BLE001 - however a network fails, the cache may have the model
        return _of_cache(name, revision, usual_revision, error)
    files = needed([file.rfilename for file in info.siblings or []])
    return _fetched(name, info.sha or revision, files)


def needed(files: Iterable[str]) -> list[str]:
    """Which files of a hub's model publishing needs: what a version holds; pickles only where no safetensors are."""
    names = list(files)
    kept = {name for name in names if belongs(name)}
    has_others = {PurePosixPath(name).parent for name in kept if name.endswith(".safetensors")}
    for name in names:
        path = PurePosixPath(name)
        if WEIGHTS.fullmatch(path.name) and path.parent not in has_others and belongs(f"{name}.safetensors"):
            kept.add(name)
    return sorted(kept)


def _fetched(name: str, revision: str, files: list[str]) -> Source:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - a folder needs nothing of it
    from huggingface_hub.errors import GatedRepoError  # noqa: PLC0415 - the same

    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=files)
    except GatedRepoError as error:
        raise _gated(name) from error
    except Exception as error:
        msg = f"{name} could not be downloaded from the hub: {first_line(error)}. What is here is kept; try again"
        raise ConfigurationError(msg, field="model") from error
    return Source(Path(folder), name, name, revision)


def _gated(name: str) -> ConfigurationError:
    msg = (
        f"{name} is on the hub, but its owner lets in only who has accepted the terms: accept them at "
        f"huggingface.co/{name}, and give your token by `hf auth login` or HF_TOKEN"
    )
    return ConfigurationError(msg, field="model")


def _of_cache(name: str, revision: str, usual_revision: str, cause: Exception) -> Source:
    """The model in the hub's cache: at that revision, else at the usual one, else at the one that `main` was."""
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415 - a folder needs nothing of it
    from huggingface_hub.errors import IncompleteSnapshotError  # noqa: PLC0415 - the same

    reasons = []
    for wanted in [revision] if revision else dict.fromkeys(filter(None, (usual_revision, "main"))):
        try:
            folder = Path(snapshot_download(name, revision=wanted, local_files_only=True))
        except IncompleteSnapshotError as error:  # files that publishing does not need may be missing
            folder = Path(error.snapshot_path)
        except (OSError, ValueError) as error:
            reasons.append(error)
            continue
        return Source(folder, name, name, folder.name if COMMIT.fullmatch(folder.name) else wanted)
    at = f" at revision {revision}" if revision else ""
    msg = (
        f"{name} is no folder here and not in the hub's cache ({constants.HF_HUB_CACHE}){at}, and the hub cannot be "
        f"asked: {first_line(cause)}. Name a folder, or download it where the hub is within reach: hf download {name}"
    )
    raise ConfigurationError(msg, field="model") from (reasons[-1] if reasons else cause)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without its full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
