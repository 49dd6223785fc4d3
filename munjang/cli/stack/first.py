"""The first models of a registry: runs `munjang train starter` as a child and shows its progress."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.cli import extras
from munjang.cli.programs import shell_command
from munjang.errors import ConfigurationError, MunjangError, RegistryError, VersionNotFound
from munjang.registry import DEFAULT, Description, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.child_process import ChildProcess
    from munjang.registry import Manifest

EXPORTS = "exports"
"""The folder of conversions in the engine's cache."""

RECIPES = "starter", "starter-adapter"
"""What the trainer writes as the recipe of the starter and of the tuned starter."""

ERROR = "error: "
"""How the line begins in which the trainer says why it failed; what it said before may come after it in the log."""


def needed(url: str) -> bool:
    """Whether the registry is empty.

    Raises:
        ConfigurationError: it has versions, but none that a server would serve.
    """
    registry = Registry(url)
    try:
        registry.resolve(DEFAULT)
    except VersionNotFound:
        versions = registry.versions()
        if not versions:
            return True
        msg = (
            f"the registry {registry.url} has versions ({', '.join(map(str, versions))}), but {DEFAULT!r} names none: "
            f"{shell_command('munjang')} versions promote {versions[-1]} --registry {registry.url}"
        )
        raise ConfigurationError(msg) from None
    return False


def reuse(home: str, url: str, *, adapter: bool) -> bool:
    """Publish the starter that one registry holds in another, which is empty; whether there was one.

    Args:
        home: the registry to take it from.
        url: the registry to publish it in.
        adapter: take the tuned starter as well, which must be there too.
    """
    if "://" in home or not Path(home).is_dir():
        return False
    source, target = Registry(home), Registry(url)
    found = {}
    for version in source.versions():
        with suppress(RegistryError, VersionNotFound):  # damaged, or removed meanwhile
            found[source.manifest(version).recipe] = version
    wanted = RECIPES if adapter else RECIPES[:1]
    if not all(recipe in found for recipe in wanted):
        return False
    for recipe in wanted:
        folder = source.local_folder(found[recipe])
        assert folder is not None  # noqa: S101 - the registry is a folder
        target.publish(folder, describe(source.manifest(found[recipe])))
    target.promote(DEFAULT, target.versions()[0], "starter")
    return True


def copy_exports(cache: Path, other: Path) -> None:
    """Copy from one cache to another what a server converted, so that its versions load at once there."""
    with suppress(OSError, shutil.Error):  # there are none, or one was deleted meanwhile: it is converted again
        shutil.copytree(cache / EXPORTS, other / EXPORTS)


def describe(manifest: Manifest) -> Description:
    """What a publisher says of a version that is like this one."""
    return Description.model_validate(manifest.model_dump(include=set(Description.model_fields)))


def command(*, promote: bool, adapter: bool) -> list[str]:
    """The command line; with `promote` the model is served even if another one was, with `adapter` it is tuned."""
    options = [*(["--promote"] if promote else []), *([] if adapter else ["--no-adapter"])]
    return [sys.executable, "-P", "-m", "munjang_trainer", "starter", *options]


def relay(child: ChildProcess, tell: Callable[[str], None]) -> None:
    """Pass on the child's output, and keep it in its log, until it ends."""
    assert child.log is not None  # noqa: S101 - every child of a stack has one
    with child.stdout, child.log.open("ab") as log:
        for raw in child.stdout:
            log.write(raw)
            if said := raw.decode(errors="replace").strip():
                tell(said)


def check(child: ChildProcess, *, kept: bool) -> None:
    """Check how the child ended; its log is named if it is `kept`.

    Raises:
        MunjangError: it failed.
    """
    if child.status() != 0:
        said = [line for line in child.tail() if line.strip()]
        errors = [line.removeprefix(ERROR) for line in said if line.startswith(ERROR)]
        reason = next(reversed(errors or said), "no reason given")
        if "No module named" in reason:
            reason = f"{reason}: {extras.hint('starter')}"
        where = f" (see {child.log})" if kept else ""
        msg = f"the first model could not be published: {reason}{where}"
        raise MunjangError(msg)
