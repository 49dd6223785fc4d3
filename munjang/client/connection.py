"""Where and how to connect: addresses, load balancing, TLS, tokens, proxies, deadlines. Opens no channel itself.

One address is called directly. Several are called in turn (round robin), without servers that report NOT_SERVING. A DNS
name with several addresses is balanced the same way.
"""

from __future__ import annotations

import json
import math
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field, fields
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc

from munjang.client.retry import Attempts, RetryPolicy, seconds
from munjang.errors import ConfigurationError, DeadlineExceeded, MunjangError
from munjang.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_TARGET = "127.0.0.1:50051"

MAX_INT32 = 2**31 - 1
"""The largest number that grpc takes as an option of a channel."""

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """How a client connects and calls; `BaseClient` says what each option means."""

    timeout: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    batch_size: int = 256
    in_flight: int = 4
    tls: bool = False
    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str = ""
    token: str = ""
    allow_insecure_token: bool = False
    max_message_bytes: int = 64 * 1024 * 1024
    keepalive: float = 0.0
    health_check: bool | None = None

    def __post_init__(self) -> None:
        """Check for options that contradict each other.

        Raises:
            ConfigurationError: names the option and what is wrong.
        """
        for name in ("batch_size", "in_flight", "max_message_bytes"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or not 0 < int(value) <= MAX_INT32:
                msg = f"{name} is {value!r}; it must be a whole number from 1 to {MAX_INT32}"
                raise ConfigurationError(msg, field=name)
        for name, fits in (("timeout", self.timeout > 0), ("keepalive", 0 <= self.keepalive <= MAX_INT32 // 1000)):
            if not fits:
                msg = f"{name} is {getattr(self, name)!r}; so many seconds cannot be waited"
                raise ConfigurationError(msg, field=name)
        if (self.cert is None) != (self.key is None):
            msg = "a client certificate needs both cert and key"
            raise ConfigurationError(msg, field="cert" if self.cert is None else "key")
        if not self.token.isascii() or not self.token.isprintable():
            msg = "the token holds characters that a header cannot carry"
            raise ConfigurationError(msg, field="token")

    @property
    def secure(self) -> bool:
        """Whether the channel is encrypted."""
        return self.tls or self.ca is not None or self.cert is not None


@dataclass(frozen=True)
class Address:
    """The address to call: grpc's target, and whether it may be several servers or another machine."""

    target: str
    several: bool
    loopback: bool


def address(targets: str | Sequence[str]) -> Address:
    """One or several HOST:PORT, as a list or separated by commas; or a single grpc URI (unix:, dns:).

    Names in a list of several are looked up once, now; for names whose addresses change use one DNS name for all.

    Raises:
        ConfigurationError: an address without host or port, or a name that cannot be looked up.
    """
    listed = targets.split(",") if isinstance(targets, str) else list(targets)
    names = [name.strip() for name in listed if name.strip()]
    if not names:
        msg = "there is no address to call"
        raise ConfigurationError(msg, field="targets")
    if len(names) == 1:
        return _single(names[0])
    families = [_lookup(*_split(name)) for name in names]
    for family, scheme in ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6")):
        if all(family in found for found in families):
            dialled = [found[family] for found in families]
            return _numbered(scheme, dialled)
    msg = f"the addresses {', '.join(names)} are not all IPv4 nor all IPv6"
    raise ConfigurationError(msg, field="targets")


def channel_options(where: Address, options: ConnectionOptions) -> list[tuple[str, int | str]]:
    """The channel arguments of both grpc APIs."""
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    checked = where.several if options.health_check is None else options.health_check
    if checked:
        config["healthCheckConfig"] = {"serviceName": ""}
    arguments: list[tuple[str, int | str]] = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.primary_user_agent", "munjang-client"),
    ]
    listed = where.several and where.target.startswith(("ipv4:", "ipv6:"))
    if where.loopback or listed or (options.token and not options.secure):
        # A proxy of the environment is not for this machine, cannot take a list, and must not see a token.
        arguments.append(("grpc.enable_http_proxy", 0))
    if options.keepalive > 0:
        arguments += [
            ("grpc.keepalive_time_ms", round(options.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    if options.server_name:
        arguments.append(("grpc.default_authority", options.server_name))
        if options.secure:
            arguments.append(("grpc.ssl_target_name_override", options.server_name))
    return arguments


def credentials(options: ConnectionOptions) -> grpc.ChannelCredentials | None:
    """TLS, with the token as call credentials; None for plain text.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    if not options.secure:
        return None
    channel = grpc.ssl_channel_credentials(
        _pem(options.ca, "ca"),
        _pem(options.key, "key"),
        _pem(options.cert, "cert"),
    )
    if not options.token:
        return channel
    return grpc.composite_channel_credentials(channel, grpc.access_token_call_credentials(options.token))


def plain_token(where: Address, options: ConnectionOptions) -> str:
    """The token that metadata must carry, because no credentials do; empty if none is sent that way.

    Raises:
        ConfigurationError: it would leave this machine unencrypted.
    """
    if options.secure or not options.token:
        return ""
    if not (where.loopback or options.allow_insecure_token):
        msg = (
            "a token is not sent without TLS to another machine; use TLS, or allow_insecure_token on a trusted network"
        )
        raise ConfigurationError(msg, field="token")
    return options.token


def _single(name: str) -> Address:
    if name.startswith(("unix:", "unix-abstract:")):
        return Address(name, several=False, loopback=True)
    scheme, colon, rest = name.partition(":")
    if colon and scheme in {"ipv4", "ipv6"}:
        return _numbered(scheme, rest.lstrip("/").split(","))
    if "://" in name or name.startswith(("dns:", "xds:")):
        host = rest.rpartition("/")[2] if scheme == "dns" else ""
        return Address(name, several="," in name, loopback=_is_loopback(host))
    host, port = _split(name)
    literal = f"[{host}]" if ":" in host else host
    return Address(f"{literal}:{port}", several=False, loopback=is_loopback(host))


def _numbered(scheme: str, dialled: Sequence[str]) -> Address:
    """An address of numbers."""
    target = f"{scheme}:{','.join(dialled)}"
    return Address(target, several=len(dialled) > 1, loopback=all(map(_is_loopback, dialled)))


def _split(name: str) -> tuple[str, int]:
    host, colon, port = name.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) <= 65535:  # noqa: PLR2004 - the last port
        msg = f"{name!r} is not HOST:PORT"
        raise ConfigurationError(msg, field="targets")
    return host, int(port)


def _lookup(host: str, port: int) -> dict[int, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        msg = f"the host {host!r} cannot be looked up: {error}"
        raise ConfigurationError(msg, field="targets") from error
    dialled: dict[int, str] = {}
    for family, _, _, _, pair in found:
        dialled.setdefault(family, f"[{pair[0]}]:{port}" if family == socket.AF_INET6 else f"{pair[0]}:{port}")
    return dialled


def _is_loopback(dialled: str) -> bool:
    """`is_loopback` of the host of HOST or HOST:PORT."""
    host, _, port = dialled.rpartition(":")
    return is_loopback(host if port.isdecimal() and not host.endswith(":") and host else dialled)


def _pem(path: str | Path | None, field: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        msg = f"the {field} file cannot be read: {error}"
        raise ConfigurationError(msg, field=field) from error


class BaseClient:
    """What all clients share: their options, and the metadata, deadlines and retries of calls. Calls nothing itself.

    Args:
        targets: HOST:PORT, or several as a list or with commas between, called in turn.
        timeout: seconds of a call that names none of its own; None or infinity for no limit.
        retry: how often and how fast calls are retried.
        batch_size: the most texts of one call; longer lists are split. Keep it under the server's limit.
        in_flight: the most calls of one list, or batches of one stream, that run at once.
        tls: encrypt; implied by `ca` and `cert`. Without `ca` the system's roots are trusted.
        ca: a PEM file of the authorities to trust.
        cert: a PEM file with the client's own certificate chain, for mutual TLS; needs `key`.
        key: a PEM file with its private key.
        server_name: the name that the server's certificate is checked for, if it differs from the address.
        token: a bearer token, sent with every call.
        allow_insecure_token: send the token without TLS to another machine too. Anyone between can read it.
        max_message_bytes: the largest message to send or receive.
        keepalive: seconds of silence in a call after which the connection is probed; 0 turns it off. Our servers close
            connections of clients that probe more often than every 10 s, servers with grpc's defaults every 300 s.
        health_check: skip servers that report NOT_SERVING; None: if there are several addresses.

    Raises:
        ConfigurationError: an option that cannot work.
    """

    def __init__(
        self,
        targets: str | Sequence[str] = DEFAULT_TARGET,
        *,
        timeout: float | None = 30.0,
        retry: RetryPolicy | None = None,
        batch_size: int = 256,
        in_flight: int = 4,
        tls: bool = False,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        server_name: str = "",
        token: str = "",
        allow_insecure_token: bool = False,
        max_message_bytes: int = 64 * 1024 * 1024,
        keepalive: float = 0.0,
        health_check: bool | None = None,
    ) -> None:
        self._options = ConnectionOptions(
            timeout=math.inf if timeout is None else seconds(timeout),
            retry=retry or RetryPolicy(),
            batch_size=batch_size,
            in_flight=in_flight,
            tls=tls,
            ca=ca,
            cert=cert,
            key=key,
            server_name=server_name,
            token=token,
            allow_insecure_token=allow_insecure_token,
            max_message_bytes=max_message_bytes,
            keepalive=keepalive,
            health_check=health_check,
        )
        self._targets = targets if isinstance(targets, str) else tuple(targets)
        self._address = address(self._targets)
        self._plain_token = plain_token(self._address, self._options)
        self._credentials = credentials(self._options)
        self._arguments = channel_options(self._address, self._options)
        self._closed = False
        self._answered: set[int] = set()  # versions that a server has answered with
        self._opening = threading.Lock()
        self._start()

    def _start(self) -> None:
        """Prepare what a kind of client needs besides its options."""

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        """Pickle the address and the options, the token included: another process opens a connection of its own."""
        options = {option.name: getattr(self._options, option.name) for option in fields(self._options)}
        return partial(type(self), **options), (self._targets,)

    def __repr__(self) -> str:
        """The address, never the token."""
        return f"{type(self).__name__}({self._address.target!r})"

    def _check_open(self) -> None:
        if self._closed:
            msg = "the client is closed"
            raise ConfigurationError(msg)

    def _metadata(self) -> Metadata:
        """The metadata of one logical call; all its attempts carry the same request id.

        Raises:
            ConfigurationError: the client was closed.
        """
        self._check_open()
        token = (("authorization", f"Bearer {self._plain_token}"),) if self._plain_token else ()
        return (("x-request-id", uuid.uuid4().hex), *_trace_context(), *token)

    def _deadline(self, timeout: float | None) -> float | None:
        """When a call with a timeout of its own must be answered; None for the client's own timeout of each call."""
        return None if timeout is None else time.monotonic() + self._limit(timeout)

    def _limit(self, timeout: float | None) -> float:
        """A timeout in seconds, or the client's own.

        Raises:
            InvalidOption: it is not a number.
            DeadlineExceeded: it is over already, as the rest of a caller's deadline can be.
        """
        limit = self._options.timeout if timeout is None else seconds(timeout)
        if limit <= 0:
            msg = "the deadline passed before the call began"
            raise DeadlineExceeded(msg)
        return limit

    def _attempts(self, deadline: float | None, version: str = "") -> Attempts:
        """The attempts of one call on a version: until `deadline`, or for the client's own timeout from now."""
        end = time.monotonic() + self._options.timeout if deadline is None else deadline
        answered = version.isdecimal() and int(version) in self._answered
        return Attempts(self._options.retry, end, answered=answered)

    def _not_ready(self, timeout: float, last: MunjangError | None) -> DeadlineExceeded:
        reason = f": {last}" if last else ""
        return DeadlineExceeded(f"no server at {self._address.target} was ready within {timeout:g} s{reason}")


def _trace_context() -> list[tuple[str, str]]:
    """The W3C trace context, if the program uses OpenTelemetry: without that import it cannot be in a trace."""
    if "opentelemetry.trace" not in sys.modules:
        return []
    from opentelemetry import propagate  # noqa: PLC0415 - optional, and the program has imported it already

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return [(key.lower(), value) for key, value in carrier.items()]
