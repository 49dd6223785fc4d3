"""`munjang up`: registry, Valkey, server and worker on this machine, in one terminal, with one Ctrl-C to end it all."""

from pathlib import Path
from typing import Annotated

import typer

from munjang.cli import console
from munjang.cli.config import read_settings
from munjang.cli.stack.home import Home
from munjang.cli.stack.plan import make_plan
from munjang.cli.stack.signals import Signals
from munjang.cli.stack.stack import ChildDied, Interrupted, Stack
from munjang.cli.up_print import ready_message
from munjang.client import Client
from munjang.settings import UpSettings


def up(
    *,
    home: Annotated[
        Path | None,
        typer.Option(help="The folder for registry, queue and logs. Default: MUNJANG_HOME, else ~/.munjang."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on. Default: MUNJANG_HOST, else 127.0.0.1.")] = "",
    port: Annotated[
        int | None,
        typer.Option(help="The port; 0 takes a free one. Default: MUNJANG_PORT, else 50051.", min=0, max=65535),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A sentence-transformers folder or hub id to publish and serve, whatever served before.")
    ] = "",
    worker: Annotated[bool, typer.Option(help="Start a worker for bulk jobs.")] = True,
) -> None:
    """Start everything on this machine: registry, job queue, server and worker. Ctrl-C ends it.

    The first start publishes a small Korean model, which takes about a minute and needs no network. The queue is an
    embedded Valkey, unless MUNJANG_REDIS_URL names a Redis of yours.

    Examples:
      munjang up

      munjang up --home /srv/munjang --host 0.0.0.0 --port 50051
    """
    settings = read_settings(UpSettings)
    place = Home((home or settings.home).expanduser().resolve())
    with Signals() as signals, place.claimed():
        plan = make_plan(settings, place, host or settings.host, settings.port if port is None else port, worker=worker)
        place.note(plan.target)
        with console.telling() as tell, Stack(plan, signals, tell) as stack:
            try:
                stack.start_queue(settings.start_seconds)
                stack.publish_first(model=model, wanted=bool(model))
                stack.start_programs()
                with _client(settings, plan.target) as client:
                    stack.wait_ready(client, settings.start_seconds)
                tell("")
                console.stdout().print(ready_message(plan), soft_wrap=True)
                stack.watch()
            except Interrupted:
                raise typer.Exit(signals.exit_status) from None
            except ChildDied as error:
                tell("")
                console.fail(f"{error}; the end of {error.child.log}:")
                for line in error.child.tail():
                    console.note(f"  {line}")
                raise typer.Exit(1) from error


def _client(settings: UpSettings, target: str) -> Client:
    return Client(
        target,
        token=settings.token,
        tls=settings.tls or bool(settings.tls_cert),
        ca=settings.ca or None,
        cert=settings.cert or None,
        key=settings.key or None,
        server_name=settings.server_name,
    )
