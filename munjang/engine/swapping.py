"""What to do next so that the resident versions become the wanted ones: pure functions of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from munjang.registry.layout import AliasRecord


def targets(aliases: Mapping[str, AliasRecord], watched: Sequence[str]) -> dict[str, int]:
    """The version that each watched alias should answer with, in the order of the watched ones."""
    return {name: aliases[name].version for name in watched if name in aliases}


def to_load(wanted: Mapping[str, int], resident: AbstractSet[int], waiting: AbstractSet[int]) -> int | None:
    """The next version to load: the first wanted one that is neither resident nor waiting for a retry."""
    missing = (version for version in wanted.values() if version not in resident and version not in waiting)
    return next(missing, None)


def to_move(wanted: Mapping[str, int], serving: Mapping[str, int], resident: AbstractSet[int]) -> dict[str, int]:
    """The aliases that can move to their version now."""
    return {name: version for name, version in wanted.items() if version in resident and serving.get(name) != version}


def to_retire(
    aliases: Mapping[str, AliasRecord],
    wanted: Mapping[str, int],
    serving: Mapping[str, int],
    resident: AbstractSet[int],
    *,
    keep_previous: bool,
) -> set[int]:
    """The resident versions that no watched alias names, answers with, or would roll back to."""
    kept = {*wanted.values(), *serving.values()}
    if keep_previous:
        kept |= {aliases[name].previous for name in wanted}
    return set(resident) - kept
