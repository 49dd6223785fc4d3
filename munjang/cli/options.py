"""The options that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

SERVER = "Server"

Target = Annotated[
    str,
    typer.Option(
        help="The server, HOST:PORT, or several with commas between. Default: MUNJANG_TARGET, else 127.0.0.1:50051.",
        metavar="HOST:PORT",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
Token = Annotated[
    str,
    typer.Option(
        help="The bearer token; better in MUNJANG_TOKEN, where no process list shows it.",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(help="Seconds until a call is given up. Default: 30.", show_default=False, rich_help_panel=SERVER),
]
Tls = Annotated[bool, typer.Option("--tls", help="Encrypt, trusting the system's authorities.", rich_help_panel=SERVER)]
Ca = Annotated[
    Path | None,
    typer.Option(help="Encrypt, trusting the authorities in this PEM file.", dir_okay=False, rich_help_panel=SERVER),
]
Cert = Annotated[
    Path | None,
    typer.Option(help="Our own certificate (PEM), for mutual TLS.", dir_okay=False, rich_help_panel=SERVER),
]
Key = Annotated[
    Path | None, typer.Option(help="The private key of --cert (PEM).", dir_okay=False, rich_help_panel=SERVER)
]

File = Annotated[str, typer.Option("--file", "-f", help="Read one text a line; - is standard input.", metavar="FILE")]
Version = Annotated[
    str, typer.Option("--version", "-v", help="A version number or an alias. Default: stable.", show_default=False)
]
Dimensions = Annotated[int, typer.Option(help="Keep the first N components only (Matryoshka); 0 for all.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RegistryUrl = Annotated[
    str,
    typer.Option(
        "--registry",
        help="A folder or an fsspec URL. Default: MUNJANG_REGISTRY, else registry under MUNJANG_HOME.",
        metavar="URL",
        show_default=False,
    ),
]
RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis",
        help="The queue's redis:// URL. Default: MUNJANG_REDIS_URL, else by way of the server.",
        metavar="URL",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
