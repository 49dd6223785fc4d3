"""One loaded version and the leases on it: it is drained when it was retired and nobody uses it any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.encoder.contract import Encoder
    from munjang.registry.layout import Manifest


class Resident:
    """A loaded version. Every method may be called from any thread.

    Args:
        manifest: what was published.
        encoder: its loaded model.
        on_drained: called once, when nobody can use it any more, in whatever thread gave back the last lease: see to it
            that the encoder is closed.
    """

    def __init__(self, manifest: Manifest, encoder: Encoder, on_drained: Callable[[Resident], None]) -> None:
        self.manifest = manifest
        self.encoder = encoder
        self._on_drained = on_drained
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False

    @property
    def version(self) -> int:
        """The version's number."""
        return self.manifest.version

    @property
    def retired(self) -> bool:
        """Whether it takes no new leases."""
        return self._retired

    def lease(self) -> ResidentLease | None:
        """A lease, or None if the version was retired in the meantime."""
        with self._lock:
            if self._retired:
                return None
            self._leases += 1
        return ResidentLease(self)

    def retire(self) -> None:
        """Take no new leases, and be drained once the last one is given back."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            idle = self._leases == 0
        if idle:
            self._on_drained(self)

    def lease_again(self) -> ResidentLease:
        """One more lease for the holder of an unreleased one; given while the version drains, too.

        Raises:
            RuntimeError: the last lease was given back after the version was retired, so the model is closed.
        """
        with self._lock:
            if self._retired and self._leases == 0:
                msg = f"version {self.version} is closed: only a lease that was not released can be shared"
                raise RuntimeError(msg)
            self._leases += 1
        return ResidentLease(self)

    def give_back(self) -> None:
        """Called by a lease, once."""
        with self._lock:
            self._leases -= 1
            last = self._retired and self._leases == 0
        if last:
            self._on_drained(self)


class ResidentLease:
    """The right to use a resident version until `release`. Not shared between threads."""

    __slots__ = ("_released", "_resident", "encoder", "manifest", "version")

    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self._released = False
        self.version = resident.version
        self.encoder = resident.encoder
        self.manifest = resident.manifest

    def share(self) -> ResidentLease:
        """See `Lease.share`."""
        return self._resident.lease_again()

    def release(self) -> None:
        """Give the right back; a second call does nothing."""
        if not self._released:
            self._released = True
            self._resident.give_back()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Release."""
        self.release()
