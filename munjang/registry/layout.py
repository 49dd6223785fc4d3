"""What is on disk: names, the manifest, the alias record, and which files a model folder may hold. Does no I/O.

<root>/registry.json               the registry's own id
<root>/versions/7/model/…          a sentence-transformers folder, safetensors only
<root>/versions/7/manifest.json    written last: the commit mark
<root>/aliases/stable.json         which version an alias names, and which it named before
"""

from __future__ import annotations

import base64
import re
from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from munjang.errors import ForbiddenFile, InvalidManifest, PathEscape, UnsupportedManifest
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSIONS = "versions"
ALIASES = "aliases"
MANIFEST = "manifest.json"
MODEL = "model"

SPACE_PATTERN = re.compile(r"[0-9a-f]{32}")
"""A space id: 128 bits in hexadecimal. No alias may look like one."""

RETIRED = b'{"retired": true}\n'
"""Takes the place of the manifest of a version that was removed or never finished. Its number is not reused: vectors of
two versions must never share a name."""

FORMAT = 1
"""The manifest format that this program writes, and the newest that it reads."""

ALIAS_PATTERN = re.compile(r"(?![0-9a-f]{32}\Z)[a-z][a-z0-9_-]{0,62}")
"""An alias begins with a letter and does not look like a space id, so that it is never taken for another name."""

ALLOWED_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".md", ".model", ".jinja"})
"""What a sentence-transformers folder holds: weights, configuration, vocabularies, cards. Never pickles or code."""

NAME_BYTES = 255
"""The longest file name that common file systems hold."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Record):
    """One file of a version: its path below `model/`, with forward slashes, and what it must hold."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Probe(_Record):
    """A text and the raw float32 vector that the publisher's encoder gave for it, as base64 of little-endian bytes.

    For a cross-encoder the text is a document with its query, and the vector has one component, the raw score.
    """

    text: str
    vector: str
    query: str = ""

    @classmethod
    def of(cls, text: str, vector: NDArray[np.float32], query: str = "") -> Probe:
        """Record a vector [d]."""
        return cls(text=text, vector=base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii"), query=query)

    def array(self) -> NDArray[np.float32]:
        """The recorded vector, float32 [d]."""
        return np.frombuffer(base64.b64decode(self.vector), "<f4")


class Description(_Record):
    """A publisher's description of a model; the store makes the manifest from it by adding number, time and files."""

    dimensions: Annotated[int, Field(gt=0)]
    max_tokens: Annotated[int, Field(gt=0)]
    token_limits: dict[str, int] = {}
    """What each file of the model names as the most tokens of a text; `max_tokens` is the least of them."""
    kind: ModelKind = ModelKind.DENSE
    alone: bool = False
    """Whether each text must run alone, because a vector depends on the texts beside it; see `publishing.truth`."""
    similarity: str = "cosine"
    prompts: dict[str, str] = {}
    default_prompt: str = ""
    matryoshka_dimensions: tuple[int, ...] = ()
    int8_scale: Annotated[float, Field(ge=0)] = 0.0
    probes: tuple[Probe, ...] = ()
    languages: tuple[str, ...] = ("ko",)
    base_model: str = ""
    recipe: str = ""
    data_fingerprint: str = ""
    metrics: dict[str, float] = {}
    libraries: dict[str, str] = {}
    provenance: dict[str, str] = {}


class Manifest(Description):
    """A version's manifest. A version exists once this file is written, and never changes afterwards."""

    format: int = FORMAT
    version: Annotated[int, Field(gt=0)]
    created_at: datetime
    files: tuple[FileEntry, ...]
    space_id: Annotated[str, Field(pattern=rf"^({SPACE_PATTERN.pattern})?$")] = ""
    """A hash of everything that decides a vector; see `ModelVersion.space_id` of the contract."""

    @property
    def size_bytes(self) -> int:
        """The sum of its files' sizes."""
        return sum(entry.size for entry in self.files)


class AliasRecord(_Record):
    """Where an alias points, and where it pointed before (0: nowhere)."""

    version: Annotated[int, Field(gt=0)]
    previous: Annotated[int, Field(ge=0)] = 0
    changed_at: datetime
    by: str = ""


def version_folder(version: int) -> str:
    """Where a version lies."""
    return f"{VERSIONS}/{version}"


def model_folder(version: int) -> str:
    """Where its model lies."""
    return f"{VERSIONS}/{version}/{MODEL}"


def manifest_path(version: int) -> str:
    """Where its manifest lies."""
    return f"{VERSIONS}/{version}/{MANIFEST}"


def alias_path(alias: str) -> str:
    """Where an alias lies."""
    return f"{ALIASES}/{alias}.json"


def number_of(name: str) -> int:
    """The version number that a name is, or 0."""
    return int(name) if re.fullmatch(r"[1-9][0-9]{0,8}", name) else 0


def parse_manifest(data: bytes, version: int) -> Manifest:
    """Read a manifest that a version folder holds.

    Raises:
        UnsupportedManifest: its format is newer than this program reads.
        InvalidManifest: it is not valid, or is that of another version.
        ForbiddenFile: it names a file that a model folder may not hold.
        PathEscape: it names a path outside the folder.
    """
    try:
        head = _Format.model_validate_json(data)
        if head.format > FORMAT:
            msg = f"the manifest of version {version} has format {head.format}; this munjang reads up to {FORMAT}"
            raise UnsupportedManifest(msg)
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        msg = f"the manifest of version {version} is not valid: {explain(error)}"
        raise InvalidManifest(msg) from error
    if manifest.version != version:
        msg = f"the manifest in folder {version} is that of version {manifest.version}"
        raise InvalidManifest(msg)
    _check_files(manifest)
    return manifest


def check_path(path: str) -> None:
    """Refuse a model file that is not plain data below the model folder.

    Raises:
        PathEscape: absolute, with a backslash or drive, with `.` or `..` in it, or no name that every disk can hold.
        ForbiddenFile: hidden, or of a kind that is not on the allow-list.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or str(pure) != path or ".." in pure.parts or "\\" in path or ":" in path:
        msg = f"{path!r} leaves the model folder or is not a plain relative path"
        raise PathEscape(msg)
    if not path.isprintable() or any(len(part.encode()) > NAME_BYTES for part in pure.parts):
        msg = f"{path!r} is not a file name: it has signs that cannot be printed, or a part over {NAME_BYTES} bytes"
        raise PathEscape(msg)
    if any(part.startswith(".") for part in pure.parts) or pure.suffix not in ALLOWED_SUFFIXES:
        msg = f"{path!r} may not be in a model folder: only {', '.join(sorted(ALLOWED_SUFFIXES))} files are data"
        raise ForbiddenFile(msg)


def explain(error: ValidationError) -> str:
    """What is wrong with a record, in one line that names the fields."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}".removeprefix(": ") for item in error.errors())


def _check_files(manifest: Manifest) -> None:
    """Refuse names that are not plain, or that cannot exist together in one folder."""
    seen: set[str] = set()
    for entry in manifest.files:
        check_path(entry.path)
        if entry.path.casefold() in seen:
            msg = f"the manifest of version {manifest.version} names {entry.path!r} twice"
            raise InvalidManifest(msg)
        seen.add(entry.path.casefold())
    for entry in manifest.files:
        if not seen.isdisjoint(str(parent).casefold() for parent in PurePosixPath(entry.path).parents):
            msg = f"the manifest of version {manifest.version} has {entry.path!r} below a file"
            raise InvalidManifest(msg)
    if not seen:
        msg = f"the manifest of version {manifest.version} names no file"
        raise InvalidManifest(msg)


class _Format(_Record):
    format: Annotated[int, Field(ge=1)]
