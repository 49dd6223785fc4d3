"""The client of a command: options of the command line first, then settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from munjang.cli.config import read_settings
from munjang.client import AsyncClient, Client
from munjang.settings import ClientSettings

if TYPE_CHECKING:
    from pathlib import Path

    from munjang.client import RetryPolicy


class Given(TypedDict):
    """What the command line said; empty, 0 or None where it said nothing."""

    target: str
    token: str
    timeout: float
    tls: bool
    ca: Path | None
    cert: Path | None
    key: Path | None


def connect(**given: Unpack[Given]) -> Client:
    """A client of the server that the options name.

    Raises:
        ConfigurationError: an option or setting that cannot work.
    """
    return Client(**_options(given))


def connect_async(retry: RetryPolicy, batch_size: int, **given: Unpack[Given]) -> AsyncClient:
    """The same for an event loop, with retries and a size of calls of its own."""
    return AsyncClient(retry=retry, batch_size=batch_size, **_options(given))


def _options(given: Given) -> dict[str, Any]:
    settings = read_settings(ClientSettings)
    return {
        "targets": given["target"] or settings.target,
        "token": given["token"] or settings.token,
        "timeout": given["timeout"] or settings.timeout,
        "tls": given["tls"] or settings.tls,
        "ca": given["ca"] or settings.ca or None,
        "cert": given["cert"] or settings.cert or None,
        "key": given["key"] or settings.key or None,
        "server_name": settings.server_name,
    }
