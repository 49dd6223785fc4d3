"""Which extra of the package a command needs, and what of it is not installed. Imports the standard library only."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata

COMMANDS = {
    "serve": "server",
    "work": "worker",
    "train": "trainer",
    "up": "starter",
    "demo": "starter",
    "versions publish": "models",
    "models": "models",
    "jobs": "jobs",
    "index": "index",
}
"""The extra behind each command that needs more than `cli`; `versions` needs it to publish only."""

MODULES = {"grpc": "grpcio", "yaml": "pyyaml"}
"""Modules whose distribution has another name."""


def extra_of(words: list[str]) -> str:
    """The extra that the command of a command line needs."""
    names = [word for word in words if not word.startswith("-")]
    if names[:2] == ["train", "starter"]:
        return "starter"
    return COMMANDS.get(" ".join(names[:2])) or COMMANDS.get(" ".join(names[:1]), "cli")


@cache
def missing(extra: str) -> str:
    """A distribution that an extra needs and this environment lacks, or "" if all are there."""
    for name in _needed(extra):
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            return name
    return ""


def lacking(error: BaseException, words: list[str]) -> str:
    """A sentence on the extra that a command line needs, or "" if the error is of another kind.

    Args:
        error: what ended the command.
        words: the command line; its command's own extra is taken if it has the module that could not be imported.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    top = error.name.partition(".")[0]
    name = MODULES.get(top, top).replace("_", "-").lower()
    found = next((each for each in dict.fromkeys((extra_of(words), *_extras())) if name in _needed(each)), "")
    return f"this command needs {name}, which is not installed: {hint(found)}" if found else ""


def hint(extra: str) -> str:
    """What to type to have an extra."""
    return f"pip install 'munjang[{extra}]'"


def _extras() -> list[str]:
    """All extras for users, the smallest first."""
    try:
        found = metadata.metadata("munjang").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # run from the source, without an installation
        return []
    return sorted(set(found) - {"all", "dev", "docs"}, key=lambda extra: len(_needed(extra)))


@cache
def _needed(extra: str) -> tuple[str, ...]:
    """The distributions that an extra needs on this platform in any case, by their normalised names."""
    try:
        lines = metadata.requires("munjang") or []
    except metadata.PackageNotFoundError:
        return ()
    wanted = re.compile(rf"([\w.-]+).*; extra == '{re.escape(extra)}'")
    return tuple(match[1].replace("_", "-").lower() for line in lines if (match := wanted.fullmatch(line)))
