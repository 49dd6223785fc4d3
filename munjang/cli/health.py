"""`munjang health`: whether a server is ready, by grpc.health.v1; for container health checks, probes and scripts."""

from typing import Annotated

import typer

from munjang.cli import console, options


@options.calls_server
def health(
    *,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until it is ready.", min=0.1)] = 5.0,
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Ask a server whether it is ready: exit status 0 as soon as it is, 1 if not within the timeout.

    Examples:
      munjang health

      munjang health --target 10.0.0.7:50051 --timeout 120
    """
    with server.connect() as client:
        client.wait_ready(timeout)
    if as_json:
        console.print_json({"serving": True})
    else:
        console.stdout().print("serving")
