"""What Client and AsyncClient share: their options, the channel's arguments, deadlines and metadata. Calls nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from munjang.client.channel import (
    DEFAULT_TARGET,
    ConnectionOptions,
    address,
    channel_options,
    credentials,
    plain_token,
)
from munjang.client.metadata import Metadata, call_metadata
from munjang.client.retry import Attempts, RetryPolicy
from munjang.errors import ConfigurationError, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from munjang.errors import MunjangError

READY_POLL_SECONDS = 0.1
"""How soon `wait_ready` looks again after a server broke off."""


class BaseClient:
    """The options of a client; see `ConnectionOptions` for what each means.

    Args:
        targets: HOST:PORT, or several as a list or with commas between, called in turn.
        timeout: seconds of a call that names none of its own.
        retry: how often and how fast calls are tried again.
        batch_size: the most texts of one call; longer lists are split.
        in_flight: the most calls of one list, or batches of one stream, under way at once.
        tls: encrypt; implied by `ca` and `cert`.
        ca: a PEM file of the authorities to trust.
        cert: a PEM file with the client's own certificate chain; needs `key`.
        key: a PEM file with its private key.
        server_name: the name that the server's certificate is checked for.
        token: a bearer token, sent with every call.
        allow_insecure_token: send the token without TLS to another machine as well.
        max_message_bytes: the largest message to send or receive.
        keepalive: seconds of silence in a call after which the connection is probed; 0 turns it off.
        health_check: leave out servers that say NOT_SERVING; None: where there are several addresses.

    Raises:
        ConfigurationError: an option that cannot work.
    """

    def __init__(
        self,
        targets: str | Sequence[str] = DEFAULT_TARGET,
        *,
        timeout: float = 30.0,
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
            timeout=timeout,
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
        self._address = address(targets)
        self._plain_token = plain_token(self._address, self._options)
        self._credentials = credentials(self._options)
        self._arguments = channel_options(self._address, self._options)
        self._closed = False
        self._answered: set[int] = set()
        self._start()

    def _start(self) -> None:
        """Open what must be opened at once."""

    def __repr__(self) -> str:
        """The address, never the token."""
        return f"{type(self).__name__}({self._address.target!r})"

    def _metadata(self) -> Metadata:
        """The metadata of one logical call.

        Raises:
            ConfigurationError: the client was closed.
        """
        if self._closed:
            msg = "the client is closed"
            raise ConfigurationError(msg)
        return call_metadata(self._plain_token)

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else time.monotonic() + timeout

    def _attempts(self, deadline: float | None, version: str = "") -> Attempts:
        """The tries of one call on a version: until `deadline`, or for the client's own timeout from now."""
        end = time.monotonic() + self._options.timeout if deadline is None else deadline
        answered = version.isdecimal() and int(version) in self._answered
        return Attempts(self._options.retry, end, answered=answered)

    def _not_ready(self, timeout: float, last: MunjangError | None) -> DeadlineExceeded:
        said = f": {last}" if last else ""
        return DeadlineExceeded(f"no server at {self._address.target} was ready within {timeout:g} s{said}")
