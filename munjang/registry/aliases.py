"""The names that move: reading, promoting, rolling back. Knows of versions only whether they are committed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from munjang.errors import InvalidManifest, InvalidOption, RegistryError, RegistryUnavailable, VersionNotFound
from munjang.registry.layout import ALIAS_PATTERN, ALIASES, AliasRecord, alias_path, explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.registry.storage import Storage

DEFAULT = "stable"
"""What a caller gets who asks for no version."""

LOCK = f"{ALIASES}/.lock"
"""Taken by whoever changes an alias or removes a version, where the storage has locks."""

_SUFFIX = ".json"
_log = logging.getLogger(__name__)


def read_alias(storage: Storage, alias: str) -> AliasRecord | None:
    """Where an alias points, or None.

    Raises:
        InvalidManifest: its file is half-written or not valid.
        RegistryUnavailable: the storage cannot be read.
    """
    try:
        return AliasRecord.model_validate_json(storage.read(alias_path(alias)))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        msg = f"the file of alias {alias!r} is not valid: {explain(error)}"
        raise InvalidManifest(msg) from error


def read_aliases(storage: Storage) -> tuple[dict[str, AliasRecord], dict[str, str]]:
    """All aliases by name, and for each that cannot be read the reason.

    Raises:
        RegistryUnavailable: the storage cannot be read.
    """
    records: dict[str, AliasRecord] = {}
    problems: dict[str, str] = {}
    for file in storage.children(ALIASES):
        alias = file.removesuffix(_SUFFIX)
        if file.startswith(".") or alias == file:
            continue
        if not ALIAS_PATTERN.fullmatch(alias):
            problems[alias] = f"{file!r} is not the name of an alias"
            continue
        try:
            record = read_alias(storage, alias)
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            problems[alias] = str(error)
        else:
            if record is not None:
                records[alias] = record
    return records, problems


def promote(storage: Storage, alias: str, version: int, by: str, committed: Callable[[int], object]) -> AliasRecord:
    """Let an alias name a version, and remember the one it named before. Nothing changes if it names it already.

    Raises:
        InvalidOption: not a name for an alias.
        VersionNotFound: `committed` raises it.
    """
    check_alias(alias)
    with storage.lock(LOCK):
        committed(version)
        try:
            record = read_alias(storage, alias)
        except InvalidManifest as error:
            _log.warning("%s; it is written anew", error)
            record = None
        if record is not None and record.version == version:
            return record
        return _write(storage, alias, version, record.version if record else 0, by)


def rollback(storage: Storage, alias: str, by: str, committed: Callable[[int], object]) -> AliasRecord:
    """Let an alias name the version that it named before; a second rollback goes forward again.

    Raises:
        InvalidOption: not a name for an alias.
        VersionNotFound: no such alias, it named nothing before, or (from `committed`) that version is gone.
        InvalidManifest: its file is not valid.
    """
    check_alias(alias)
    with storage.lock(LOCK):
        record = read_alias(storage, alias)
        if record is None:
            msg = f"there is no alias {alias!r}"
            raise VersionNotFound(msg, field="alias")
        if not record.previous:
            msg = f"alias {alias!r} named no version before {record.version}: there is nothing to go back to"
            raise VersionNotFound(msg, field="alias")
        committed(record.previous)
        return _write(storage, alias, record.previous, record.version, by)


def check_alias(alias: str) -> None:
    """Refuse what cannot be the name of an alias.

    Raises:
        InvalidOption: it does not begin with a small letter, or holds more than small letters, digits, - and _.
    """
    if not ALIAS_PATTERN.fullmatch(alias):
        msg = f"{alias!r} cannot be an alias: a small letter, then up to 62 small letters, digits, - or _"
        raise InvalidOption(msg, field="alias")


def _write(storage: Storage, alias: str, version: int, previous: int, by: str) -> AliasRecord:
    record = AliasRecord(version=version, previous=previous, changed_at=datetime.now(UTC), by=by)
    storage.replace(alias_path(alias), record.model_dump_json(indent=2).encode() + b"\n")
    _log.info("alias %s names version %d, before %d", alias, version, previous)
    return record
