"""`munjang demo`: a tour of the whole in a temporary folder, which is gone at its end."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console

from munjang.cli import console
from munjang.cli.callers import Callers
from munjang.cli.config import read_settings
from munjang.cli.heatmap import heat_map
from munjang.cli.programs import spoken
from munjang.cli.stack.home import Home
from munjang.cli.stack.plan import Plan, make_plan
from munjang.cli.stack.ports import LOOPBACK
from munjang.cli.stack.signals import Signals
from munjang.cli.stack.stack import Interrupted, Stack
from munjang.client import Client
from munjang.errors import DeadlineExceeded, MunjangError
from munjang.registry import DEFAULT, Description, Registry
from munjang.settings import UpSettings

SENTENCES = (
    "밀짚모자를 쓴 남자가 드럼을 쳤다.",
    "남자가 음악을 연주하고 있다.",
    "남자가 바이올린을 연주하고 있다.",
    "내일 서울에는 비가 내리겠습니다.",
    "우산을 챙겨 나가세요.",
)
SWAP_SECONDS = 120.0
REPLIES = 20
"""So many replies of a version are waited for before the next step."""

UNSET = ("MUNJANG_ALIASES", "MUNJANG_TLS_CERT", "MUNJANG_TLS_KEY", "MUNJANG_TLS_CLIENT_CA", "MUNJANG_TOKENS_FILE")
"""Settings of another installation, which a demonstration does without."""


def demo() -> None:
    """See it work in a temporary folder: encode, compare, swap the model under running calls, and go back.

    Takes about two minutes, most of it for making the first model, and leaves nothing behind.

    Example:
      munjang demo
    """
    out = console.stdout()
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="munjang-demo-") as folder:
        home = Home(Path(folder))
        with home.claimed(), console.telling() as tell:
            plan = _plan(home)
            with Stack(plan, signals, tell) as stack:
                try:
                    _tour(out, stack, plan, tell)
                except Interrupted:
                    raise typer.Exit(signals.exit_status) from None
    _head(out, f"Everything has ended and the folder is gone. `{spoken('munjang')} up` starts one that stays.")


def _plan(home: Home) -> Plan:
    clean = {"registry": "", "redis_url": "", "redis_port": 0, "metrics_port": 0, "worker_metrics_port": 0}
    settings = read_settings(UpSettings).model_copy(update=clean)
    plan = make_plan(settings, home, LOOPBACK, 0, worker=False)
    kept = {name: UpSettings.model_fields[name.removeprefix("MUNJANG_").lower()].default for name in UNSET}
    return replace(plan, extra=kept)


def _tour(out: Console, stack: Stack, plan: Plan, tell: Callable[[str], None]) -> None:
    _head(out, "1. A registry with a first model, and a server")
    with _timed(out, "ready"):
        stack.publish_first(model="", wanted=False)
        stack.start_programs()
        with Client(plan.target) as client:
            stack.wait_ready(client, SWAP_SECONDS)
        tell("")
    with Client(plan.target) as client:
        _encode(out, client)
        _compare(out, client)
        _swap(out, stack, client, Registry(plan.registry))


def _encode(out: Console, client: Client) -> None:
    _head(out, "2. Sentences in, vectors out")
    found = client.encode(SENTENCES)
    out.print(f"{len(found)} sentences → float32 {found.vectors.shape}, tokens {found.token_counts.tolist()}")
    out.print(f"every vector is by version {found.version}: vectors of different versions never mix")


def _compare(out: Console, client: Client) -> None:
    _head(out, "3. Which sentences are alike")
    found = client.similarity(SENTENCES)
    out.print(heat_map(SENTENCES, found.scores, f"{found.function} similarity · version {found.version}"))


def _swap(out: Console, stack: Stack, client: Client, registry: Registry) -> None:
    _head(out, "4. A new version goes live under running calls, and back")
    old = registry.resolve(DEFAULT)
    with Callers(client, SENTENCES) as callers:
        _wait(stack, callers, old)
        new = _publish_copy(registry, old)
        out.print(f"published version {new}; the callers go on with version {old}")
        with _timed(out, f"promoted: all calls are answered by version {new}"):
            registry.promote(DEFAULT, new, "munjang demo")
            _wait(stack, callers, new)
        pinned = client.encode(SENTENCES, version=old)
        out.print(f"a call that pins version {pinned.version} is still answered by it")
        with _timed(out, f"rolled back: all calls are answered by version {old}"):
            registry.rollback(DEFAULT, "munjang demo")
            _wait(stack, callers, old)
    by = ", ".join(f"{count} by version {version}" for version, count in sorted(callers.answered.items()))
    failed = callers.failures.total()
    out.print(
        f"{callers.calls} calls, {failed} failed; {by}; slowest {callers.slowest * 1000:.0f} ms; "
        "each reply named exactly one version"
    )
    if failed:
        msg = f"{failed} calls failed during the swap: {dict(callers.failures)}"
        raise MunjangError(msg)


def _publish_copy(registry: Registry, version: int) -> int:
    """The same model once more, as a version of its own, with another note on how it was made."""
    manifest = registry.manifest(version)
    folder = registry.local_folder(version)
    assert folder is not None  # noqa: S101 - the demonstration's registry is a folder
    fields = manifest.model_dump(include=set(Description.model_fields)) | {"recipe": "munjang demo: a copy"}
    return registry.publish(folder, Description.model_validate(fields)).version


def _wait(stack: Stack, callers: Callers, version: int) -> None:
    """Wait until a version answers."""
    deadline = time.monotonic() + SWAP_SECONDS
    while not callers.wait(version, REPLIES, 0.5):
        stack.check()
        if time.monotonic() > deadline:
            msg = f"version {version} did not answer within {SWAP_SECONDS:g} s"
            raise DeadlineExceeded(msg)


def _head(out: Console, title: str) -> None:
    out.print()
    out.print(title, style="bold green", markup=False)


@contextmanager
def _timed(out: Console, what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    out.print(f"{what} ({time.monotonic() - begun:.1f} s)")
