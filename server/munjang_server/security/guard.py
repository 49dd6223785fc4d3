"""Who is calling, and may they: asked once at the start of every call."""

from __future__ import annotations

import ipaddress
from typing import Any, Protocol

from munjang.errors import PermissionDenied
from munjang_server.call import Caller, Permission


class Guard(Protocol):
    """Tells callers apart."""

    def admit(self, authorization: str, context: Any, permission: Permission) -> Caller:
        """The caller of a call.

        Raises:
            Unauthenticated: nobody that this server knows.
            PermissionDenied: known, but not allowed to call this method.
        """


class OpenGuard:
    """Lets everybody in, and tells callers apart by certificate or address.

    Args:
        admin: whether everybody may also promote, roll back, and submit and cancel jobs.
    """

    def __init__(self, *, admin: bool = False) -> None:
        self._admin = admin

    def admit(self, authorization: str, context: Any, permission: Permission) -> Caller:  # noqa: ARG002 - of the protocol
        """The peer. See `Guard`."""
        if permission is Permission.ADMIN and not self._admin:
            msg = "this server has no tokens, so it lets nobody move aliases or run jobs from another machine"
            raise PermissionDenied(msg)
        return Caller(peer_name(context))


def peer_name(context: Any) -> str:
    """The name in the client's certificate where there is one, else its address without the port."""
    identities = context.peer_identities()
    if identities:
        name: str = next(iter(identities)).decode(errors="replace")
        return name
    peer: str = context.peer()
    return peer.rpartition(":")[0] or peer


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
