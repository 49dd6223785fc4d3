"""The client of a command: options of the command line first, then settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.cli.config import read_settings
from munjang.client import Client
from munjang.settings import ClientSettings

if TYPE_CHECKING:
    from pathlib import Path


def connect(
    *, target: str, token: str, timeout: float, tls: bool, ca: Path | None, cert: Path | None, key: Path | None
) -> Client:
    """A client of the server that the options name.

    Raises:
        ConfigurationError: an option or setting that cannot work.
    """
    settings = read_settings(ClientSettings)
    return Client(
        target or settings.target,
        token=token or settings.token,
        timeout=timeout or settings.timeout,
        tls=tls or settings.tls,
        ca=ca or settings.ca or None,
        cert=cert or settings.cert or None,
        key=key or settings.key or None,
    )
