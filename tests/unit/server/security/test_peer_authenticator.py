"""Callers without tokens: what tells them apart, and what they may not."""

from __future__ import annotations

from functools import partial

import pytest

from munjang.errors import PermissionDenied
from munjang_server.security.authentication import PeerAuthenticator, Permission, is_loopback, peer_name


class Context:
    """A gRPC context of a peer."""

    def __init__(self, peer, identities=None):
        self._peer, self._identities = peer, identities

    def peer(self):
        return self._peer

    def peer_identities(self):
        return self._identities


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("ipv4:10.0.0.7:5000", "ipv4:10.0.0.7"),
        ("ipv6:%5B::1%5D:5000", "ipv6:%5B::1%5D"),
        ("unix:", "unix"),
        ("unknown", "unknown"),
    ],
)
def test_a_caller_is_known_by_its_address_whatever_its_port(peer, name):
    assert PeerAuthenticator().authenticate("", partial(peer_name, Context(peer)), Permission.CALL).name == name


def test_a_caller_with_a_certificate_is_known_by_the_name_in_it():
    context = Context("ipv4:10.0.0.7:5000", [b"search.example"])
    assert PeerAuthenticator().authenticate("", partial(peer_name, context), Permission.CALL).name == "search.example"


def test_nobody_is_an_admin_unless_everybody_is():
    with pytest.raises(PermissionDenied):
        PeerAuthenticator().authenticate("", lambda: "ipv4:10.0.0.7", Permission.ADMIN)
    assert PeerAuthenticator(admin=True).authenticate("", lambda: "ipv4:127.0.0.1", Permission.ADMIN)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_a_loopback_address_is_one_that_only_this_machine_reaches(host, loopback):
    assert is_loopback(host) is loopback
