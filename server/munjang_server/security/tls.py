"""TLS and mutual TLS from PEM files that reload when they change; invalid new files leave the old ones in use."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog

from munjang.errors import ConfigurationError
from munjang_server.security import file_stamp

if TYPE_CHECKING:
    from munjang.settings import ServerSettings
    from munjang_server.security import FileStamp

log = structlog.get_logger("munjang.server.tls")


def credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """The server's credentials; None, for plaintext, if no certificate is set.

    Raises:
        ConfigurationError: the settings contradict each other, or the files are not valid.
    """
    if not settings.tls_cert and not settings.tls_key:
        if settings.tls_client_ca:
            msg = "MUNJANG_TLS_CLIENT_CA needs MUNJANG_TLS_CERT and MUNJANG_TLS_KEY: without TLS no client is checked"
            raise ConfigurationError(msg, field="tls_client_ca")
        return None
    if not settings.tls_cert or not settings.tls_key:
        msg = "MUNJANG_TLS_CERT and MUNJANG_TLS_KEY go together: set both or neither"
        raise ConfigurationError(msg, field="tls_cert")
    certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first(),
        certificates.changed,  # type: ignore[arg-type]  # the stubs forget that None is allowed
        require_client_authentication=bool(settings.tls_client_ca),
    )


class Certificates:
    """The certificate files of a server.

    Args:
        cert: PEM, the server's chain.
        key: PEM, its private key.
        client_ca: PEM, the authority that signs clients; empty if clients need no certificate.
    """

    def __init__(self, cert: str, key: str, client_ca: str = "") -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._paths = [path for path in (cert, key, client_ca) if path]
        self._used: FileStamp | None = None
        self._refused: FileStamp | None = None

    def first(self) -> grpc.ServerCertificateConfiguration:
        """The files as they are at the start.

        Raises:
            ConfigurationError: they are not valid.
        """
        try:
            now = file_stamp(self._paths)
            configuration = self._read()
        except (OSError, ValueError) as error:
            msg = f"the TLS files cannot be used: {_reason(error)}"
            raise ConfigurationError(msg, field="tls_cert") from error
        self._used = now
        return configuration

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new files if they have changed, else None. gRPC asks at every new connection, on its threads."""
        now: FileStamp | None = None
        try:
            now = file_stamp(self._paths)
            if now == self._used:
                return None
            configuration = self._read()
        except (OSError, ValueError) as error:  # half replaced, perhaps: the next connection asks again
            if now is None or now != self._refused:
                log.warning("new TLS files cannot be used; the old ones stay", reason=_reason(error))
                self._refused = now
            return None
        self._used = now
        log.info("TLS files reloaded", cert=self._cert)
        return configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files, and let OpenSSL check that they are valid and belong together: gRPC would not say."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        if self._client_ca:
            context.load_verify_locations(self._client_ca)
        pair = (Path(self._key).read_bytes(), Path(self._cert).read_bytes())
        roots = Path(self._client_ca).read_bytes() if self._client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], roots)


def _no_password() -> str:
    msg = "the private key is protected by a password; give one that is not"
    raise ValueError(msg)


def _reason(error: OSError | ValueError) -> str:
    """In words; an error of OpenSSL names no file."""
    if isinstance(error, ssl.SSLError):
        return f"not valid, or certificate and key do not belong together ({error.reason or error})"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
