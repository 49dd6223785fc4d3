"""The space id of a version: a hash of everything that decides its vectors, and of nothing else.

Counted are the weights, the tokenizer, the configurations of the modules, the prompts, the limits and the kind. Left
out are cards, licences, and the keys of a configuration that only say which program wrote it or where from. So a model
that was saved again by another release of a library keeps its space, unless that changed what the model is.

A manifest that was written before there were spaces gets one from its list of files, whose hashes cannot be looked
into: equal files then give equal ids, and a model that is published again may get another one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.registry.layout import Description, Manifest

DIGITS = 32
"""Hexadecimal digits of a space id: see `layout.SPACE_PATTERN`."""

_WITHOUT_EFFECT = ("*.md", "LICENSE*", "NOTICE*", "generation_config.json")
"""Files that no encoder reads."""

_AS_THEY_ARE = ("tokenizer.json", "vocab.json")
"""JSON files of a tokenizer, megabytes long, whose every byte counts."""

_SAYS_NOTHING = frozenset(
    (
        *("_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "__version__", "architectures"),
        *("dtype", "torch_dtype"),  # the engine chooses the number format; the weights hold their own
    )
)
"""Keys of a configuration that decide no vector, at any depth."""

_DESCRIBED = frozenset({"prompts", "default_prompt_name", "similarity_fn_name", "model_type"})
"""Keys of `config_sentence_transformers.json` that the description holds in one form for all releases, and the function
by which vectors are compared once they are made."""


def counts(path: str) -> bool:
    """Whether a file of a model folder can decide a vector."""
    return not any(PurePosixPath(path).match(pattern) for pattern in _WITHOUT_EFFECT)


def is_configuration(path: str) -> bool:
    """Whether a file's meaning is hashed, and not its bytes."""
    pure = PurePosixPath(path)
    return pure.suffix == ".json" and pure.name not in _AS_THEY_ARE


def configuration_digest(path: str, data: bytes) -> str:
    """A hash of what a configuration says, whatever the order of its keys; of its bytes where it is not JSON."""
    try:
        content = json.loads(data)
    except ValueError:
        return hashlib.sha256(data).hexdigest()
    if PurePosixPath(path).name == "config_sentence_transformers.json" and isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in _DESCRIBED}
    return hashlib.sha256(_canonical(_meaningful(content))).hexdigest()


def space_of(description: Description, digests: Mapping[str, str]) -> str:
    """The space id of a model.

    Args:
        description: what its publisher measured.
        digests: a hash of each of its files, by path; those that do not count may be among them.
    """
    decisive = {
        "kind": str(description.kind),
        "dimensions": description.dimensions,
        "max_tokens": description.max_tokens,
        "prompts": description.prompts,
        "default_prompt": description.default_prompt,
        "files": {path: digest for path, digest in digests.items() if counts(path)},
    }
    return hashlib.sha256(_canonical(decisive)).hexdigest()[:DIGITS]


def with_space(manifest: Manifest) -> Manifest:
    """The manifest with a space id: its own, or the one of its list of files."""
    if manifest.space_id:
        return manifest
    found = space_of(manifest, {entry.path: entry.sha256 for entry in manifest.files})
    return manifest.model_copy(update={"space_id": found})


def _meaningful(content: object) -> object:
    if isinstance(content, dict):
        return {key: _meaningful(value) for key, value in content.items() if key not in _SAYS_NOTHING}
    if isinstance(content, list):
        return [_meaningful(item) for item in content]
    return content


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
