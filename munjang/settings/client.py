"""Settings: where the command line finds a server."""

from __future__ import annotations

from pydantic import Field

from munjang.settings.kinds import Seconds
from munjang.settings.shared import Settings


class ClientSettings(Settings):
    """Where the command line finds a server."""

    target: str = Field(
        default="127.0.0.1:50051",
        description="The server that the command line calls, HOST:PORT. Change it instead of writing --target each "
        "time.",
    )
    token: str = Field(default="", description="The bearer token to send. Set it where the server asks for one.")
    timeout: Seconds = Field(
        default=30.0,
        description="Seconds until a call of the command line is given up. Raise it for a slow server or long lists.",
    )
    tls: bool = Field(default=False, description="Encrypt calls, trusting the system's authorities. Set it for TLS.")
    ca: str = Field(
        default="",
        description="A PEM file of the authorities to trust instead of the system's. Set it for a private authority.",
    )
    cert: str = Field(default="", description="The client's own PEM certificate. Set it where the server asks for one.")
    key: str = Field(default="", description="The PEM private key of cert.")
    server_name: str = Field(
        default="",
        description="The name that the server's certificate is checked for, where it differs from the address. Set it "
        "behind a tunnel, or for a probe that calls 127.0.0.1.",
    )
