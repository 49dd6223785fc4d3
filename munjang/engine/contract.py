"""What the engine offers to the programs: leases on loaded versions, and their states. This is the whole contract."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from munjang.encoder.contract import Encoder
    from munjang.registry.layout import Manifest


class VersionState(StrEnum):
    """The state of a version in this process."""

    PUBLISHED = "published"
    LOADING = "loading"
    WARMING = "warming"
    AVAILABLE = "available"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version as this process sees it. `manifest` is None where the version's manifest cannot be read."""

    version: int
    state: VersionState
    reason: str = ""
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class AliasStatus:
    """One alias: what the registry says, and what this process answers with (0: nothing yet)."""

    name: str
    version: int
    previous: int
    serving: int


class Lease(Protocol):
    """The right to use one loaded version; it is not unloaded before `release`, which may be called more than once."""

    @property
    def version(self) -> int:
        """The version's number."""

    @property
    def space_id(self) -> str:
        """The version's space id."""

    @property
    def encoder(self) -> Encoder:
        """Its encoder."""

    def share(self) -> Lease:
        """A second lease on the same version, released on its own. Only an unreleased lease can be shared.

        It never fails, even while the version drains. A forward holds one, so the model is not closed under it when the
        caller leaves.
        """

    def release(self) -> None:
        """Release the lease."""

    def __enter__(self) -> Self:
        """Use as a context manager, released at the end."""

    def __exit__(self, *exc_info: object) -> None:
        """Release."""


class EngineContract(Protocol):
    """The resident versions of one process. Every method may be called from any thread and returns at once."""

    def acquire(self, name: str) -> Lease:
        """Lease the version that a number or alias names, or the newest available of a space; "" is "stable".

        Raises:
            VersionNotFound: no version, alias or space of that name.
            VersionLoading: known and being loaded, but not ready.
            VersionNotReady: known, but not served by this process.
        """

    def versions(self) -> list[VersionStatus]:
        """All versions of the registry, newest first."""

    def aliases(self) -> list[AliasStatus]:
        """All aliases of the registry, by name."""

    @property
    def ready(self) -> bool:
        """Whether the first watched alias has a version to answer with. A server does not wait for the others."""
