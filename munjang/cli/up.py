"""`munjang up`: registry, Valkey, server and worker on this machine, in one terminal. One Ctrl-C ends all of them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.cli import console
from munjang.cli.options import read_settings
from munjang.cli.programs import shell_command
from munjang.cli.stack.plan import Home, Plan, make_plan
from munjang.cli.stack.signals import Signals
from munjang.cli.stack.stack import ChildDied, Interrupted, Stack
from munjang.client import Client
from munjang.settings import UpSettings

EXAMPLE = '"밀짚모자를 쓴 남자가 드럼을 쳤다." "남자가 음악을 연주하고 있다." "남자가 바이올린을 연주하고 있다."'


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
    http_port: Annotated[
        int | None,
        typer.Option(help="The port of HTTP; 0 serves none. Default: MUNJANG_HTTP_PORT, else 8080.", min=0, max=65535),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model folder or hub id to publish and serve, whatever served before.")
    ] = "",
    worker: Annotated[bool, typer.Option(help="Start a worker for bulk jobs.")] = True,
) -> None:
    """Start everything on this machine: registry, job queue, server and worker. Ctrl-C ends it.

    The first start publishes a small Korean model, plain and tuned, which takes about a minute and needs no network.
    The tuned one is served. The queue is an embedded Valkey, unless MUNJANG_REDIS_URL names a Redis of yours.

    While it runs, commands in other terminals use its server and registry, unless an option or MUNJANG_TARGET and
    MUNJANG_REGISTRY name others.

    Examples:
      munjang up

      munjang up --home /srv/munjang --host 0.0.0.0 --port 50051
    """
    settings = read_settings(UpSettings)
    place = Home((home or settings.home).expanduser().resolve())
    with Signals() as signals, place.claimed():
        plan = make_plan(
            settings,
            place,
            host or settings.host,
            settings.port if port is None else port,
            http_port=settings.http_port if http_port is None else http_port,
            worker=worker,
        )
        homes = [place.folder, settings.home.resolve()]  # a second terminal looks into the latter
        with plan.running.noted(homes), console.status_line() as tell, Stack(plan, signals, tell) as stack:
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
                error.tell()
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


def ready_message(plan: Plan) -> Text:
    """The message that `munjang up` ends its start with."""
    munjang = shell_command("munjang")
    lines = [
        ("gRPC", plan.target),
        ("try it", f"{munjang} similarity {EXAMPLE}"),
        ("in Python", "from munjang.client import Client"),
        ("", f'with Client("{plan.target}") as client:'),
        ("", '    print(client.encode(["안녕하세요"]).vectors.shape)'),
        *_http(plan),
        ("queue", plan.redis_url),
        *_worker(plan),
        ("metrics", _page(plan.metrics)),
        ("models", f"{plan.registry}   ({munjang} versions list)"),
        ("logs", str(plan.home.logs)),
        ("elsewhere", f"{plan.running.export()}   # commands on this machine find it without"),
    ]
    text = Text("munjang is ready. Ctrl-C ends everything.\n", style="bold green")
    for label, line in lines:
        text.append(f"\n  {label:<10}", style="bold cyan")
        text.append(line, style="default")
    return text.append("\n")


def _http(plan: Plan) -> list[tuple[str, str]]:
    if not plan.web:
        return []
    body = '{"model": "stable", "input": "안녕하세요"}'
    return [
        ("HTTP", f"{plan.web}/   a page to try it (OpenAI's API at {plan.web}/v1, TEI's at {plan.web})"),
        ("", f"curl {plan.web}/v1/embeddings -H 'content-type: application/json' -d '{body}'"),
    ]


def _worker(plan: Plan) -> list[tuple[str, str]]:
    if not plan.worker:
        return [("", "no worker runs here: jobs wait until one does")]
    rq = f"{shell_command('rq')} enqueue --url {plan.redis_url} --queue {QUEUE}"
    return [
        ("bulk jobs", f"{rq} {EMBED_FILE} INPUT OUTPUT   # absolute paths"),
        ("", f"worker metrics {_page(plan.worker_metrics)}"),
    ]


def _page(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}/metrics"
