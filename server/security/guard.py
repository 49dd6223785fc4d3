"""Who is calling, and may they: asked once at the start of every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from server.call import Caller

if TYPE_CHECKING:
    from server.call import Permission


class Guard(Protocol):
    """Tells callers apart."""

    def admit(self, authorization: str, context: Any, permission: Permission) -> Caller:
        """The caller of a call.

        Raises:
            Unauthenticated: nobody that this server knows.
            PermissionDenied: known, but not allowed to call this method.
        """


class OpenGuard:
    """Lets everybody in, and tells callers apart by certificate or address."""

    def admit(self, authorization: str, context: Any, permission: Permission) -> Caller:  # noqa: ARG002 - of the protocol
        """The peer."""
        return Caller(peer_name(context))


def peer_name(context: Any) -> str:
    """The name in the client's certificate where there is one, else its address without the port."""
    identities = context.peer_identities()
    if identities:
        name: str = next(iter(identities)).decode(errors="replace")
        return name
    peer: str = context.peer()
    return peer.rpartition(":")[0] or peer
