"""What a person needs once everything runs: the address, how to call it, the queue, the metrics, the logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.cli.programs import spoken
from munjang.client.connection import DEFAULT_TARGET

if TYPE_CHECKING:
    from munjang.cli.stack.plan import Plan

EXAMPLE = '"밀짚모자를 쓴 남자가 드럼을 쳤다." "남자가 음악을 연주하고 있다." "남자가 바이올린을 연주하고 있다."'


def ready_message(plan: Plan) -> Text:
    """The message that `munjang up` ends its start with."""
    target = "" if plan.target == DEFAULT_TARGET else f" --target {plan.target}"
    munjang = spoken("munjang")
    lines = [
        ("gRPC", plan.target),
        ("try it", f"{munjang} similarity {EXAMPLE}{target}"),
        ("in Python", "from munjang.client import Client"),
        ("", f'with Client("{plan.target}") as client:'),
        ("", '    print(client.encode(["안녕하세요"]).vectors.shape)'),
        ("queue", plan.redis_url),
        *_worker(plan),
        ("metrics", _page(plan.metrics)),
        ("models", f"{plan.registry}   ({munjang} versions list --registry {plan.registry})"),
        ("logs", str(plan.home.logs)),
    ]
    text = Text("munjang is ready. Ctrl-C ends everything.\n", style="bold green")
    for label, line in lines:
        text.append(f"\n  {label:<10}", style="bold cyan")
        text.append(line, style="default")
    return text.append("\n")


def _worker(plan: Plan) -> list[tuple[str, str]]:
    if not plan.worker:
        return [("", "no worker runs here: jobs wait until one does")]
    rq = f"{spoken('rq')} enqueue --url {plan.redis_url} --queue {QUEUE}"
    return [
        ("bulk jobs", f"{rq} {EMBED_FILE} INPUT OUTPUT   # absolute paths"),
        ("", f"worker metrics {_page(plan.worker_metrics)}"),
    ]


def _page(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}/metrics"
