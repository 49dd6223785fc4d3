"""Which addresses are this machine's own. Looks up no names and opens no connection."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether a host, by the name `localhost` or by any spelling of a number, can only be this machine.

    The unspecified address counts too: a connection to it reaches this machine.
    """
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:  # as the resolver reads numbers: 127.1 and 0x7f000001 are 127.0.0.1
        number = socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)[0][4][0]
    except (OSError, UnicodeError):
        return False
    address = ipaddress.ip_address(str(number).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
