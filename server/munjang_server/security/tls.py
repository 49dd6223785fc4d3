"""TLS and mutual TLS from PEM files that reload when they change; invalid new files leave the old ones in use."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import grpc
import structlog

from munjang.errors import ConfigurationError
from munjang_server.security import file_stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.settings import ServerSettings
    from munjang_server.security import FileStamp

T = TypeVar("T")

log = structlog.get_logger("munjang.server.tls")


def credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """The server's credentials for gRPC; None, for plaintext, if no certificate is set.

    Raises:
        ConfigurationError: the settings contradict each other, or the files are not valid.
    """
    if not _encrypts(settings):
        return None
    certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca, _grpc_configuration)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first(),
        certificates.changed,  # type: ignore[arg-type]  # the stubs forget that None is allowed
        require_client_authentication=bool(settings.tls_client_ca),
    )


def ssl_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """The same for HTTP: a context whose connections take the files as they are then; None for plaintext.

    Raises:
        ConfigurationError: the settings contradict each other, or the files are not valid.
    """
    if not _encrypts(settings):
        return None
    files = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    certificates: Certificates[ssl.SSLContext] = Certificates(*files, lambda _, context: context)
    latest = first = certificates.first()

    def take_latest(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG001 - of ssl
        nonlocal latest
        latest = certificates.changed() or latest
        connection.context = latest

    first.sni_callback = take_latest  # called in every handshake, also where the client names no server
    return first


def _encrypts(settings: ServerSettings) -> bool:
    """Whether the settings ask for TLS.

    Raises:
        ConfigurationError: they contradict each other.
    """
    if not settings.tls_cert and not settings.tls_key:
        if settings.tls_client_ca:
            msg = "MUNJANG_TLS_CLIENT_CA needs MUNJANG_TLS_CERT and MUNJANG_TLS_KEY: without TLS no client is checked"
            raise ConfigurationError(msg, field="tls_client_ca")
        return False
    if not settings.tls_cert or not settings.tls_key:
        msg = "MUNJANG_TLS_CERT and MUNJANG_TLS_KEY go together: set both or neither"
        raise ConfigurationError(msg, field="tls_cert")
    return True


class Certificates(Generic[T]):
    """The certificate files of a server.

    Args:
        cert: PEM, the server's chain.
        key: PEM, its private key.
        client_ca: PEM, the authority that signs clients; empty if clients need no certificate.
        make: makes of these files, read and checked, what a door needs.
    """

    def __init__(
        self, cert: str, key: str, client_ca: str, make: Callable[[Certificates[T], ssl.SSLContext], T]
    ) -> None:
        self.cert, self.key, self.client_ca = cert, key, client_ca
        self._make = make
        self._paths = [path for path in (cert, key, client_ca) if path]
        self._used: FileStamp | None = None
        self._refused: FileStamp | None = None

    def first(self) -> T:
        """The files as they are at the start.

        Raises:
            ConfigurationError: they are not valid.
        """
        try:
            now = file_stamp(self._paths)
            made = self._read()
        except (OSError, ValueError) as error:
            msg = f"the TLS files cannot be used: {_reason(error)}"
            raise ConfigurationError(msg, field="tls_cert") from error
        self._used = now
        return made

    def changed(self) -> T | None:
        """The new files if they have changed, else None. For every new connection; gRPC asks on its threads."""
        now: FileStamp | None = None
        try:
            now = file_stamp(self._paths)
            if now == self._used:
                return None
            made = self._read()
        except (OSError, ValueError) as error:  # half replaced, perhaps: the next connection asks again
            if now is None or now != self._refused:
                log.warning("new TLS files cannot be used; the old ones stay", reason=_reason(error))
                self._refused = now
            return None
        self._used = now
        log.info("TLS files reloaded", cert=self.cert)
        return made

    def _read(self) -> T:
        """Read the files, and let OpenSSL check that they are valid and belong together: gRPC would not say."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key, password=_no_password)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return self._make(self, context)


def _grpc_configuration(
    files: Certificates[grpc.ServerCertificateConfiguration],
    context: ssl.SSLContext,  # noqa: ARG001 - gRPC reads the files itself
) -> grpc.ServerCertificateConfiguration:
    pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
    roots = Path(files.client_ca).read_bytes() if files.client_ca else None
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
