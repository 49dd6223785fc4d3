"""A certificate authority for tests of TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

NAME = "munjang.test"
"""The host name that every certificate is for, beside 127.0.0.1; not localhost."""


class Authority:
    """Signs certificates. `pem` is its own."""

    def __init__(self, name: str = "시험 기관") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.pem = self._sign(self._name, self._key.public_key(), ca=True)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A key and its certificate, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        secret = key.private_bytes(serialization.Encoding.PEM, *plain)
        return secret, self._sign(_name(name), key.public_key(), ca=False)

    def write(self, folder: Path, name: str) -> tuple[Path, Path, Path]:
        """The files of a new key, its certificate and the authority's own."""
        files = folder / f"{name}.key", folder / f"{name}.pem", folder / "ca.pem"
        for path, data in zip(files, (*self.issue(name), self.pem), strict=True):
            path.write_bytes(data)
        return files

    def _sign(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
