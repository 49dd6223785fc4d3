"""`munjang demo`: a tour of munjang, or a change of models, in a temporary folder that is deleted at the end."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from munjang.cli import console
from munjang.cli.callers import Callers
from munjang.cli.options import read_settings
from munjang.cli.programs import shell_command
from munjang.cli.rollover import CANDIDATE, Drill
from munjang.cli.similarity import heat_map
from munjang.cli.stack import first
from munjang.cli.stack.plan import LOOPBACK, Home, Plan, make_plan
from munjang.cli.stack.signals import Signals
from munjang.cli.stack.stack import ChildDied, Interrupted, Stack
from munjang.client import Client
from munjang.errors import MunjangError
from munjang.registry import DEFAULT, Registry
from munjang.settings import TrainerSettings, UpSettings

SENTENCES = (
    "밀짚모자를 쓴 남자가 드럼을 쳤다.",
    "남자가 음악을 연주하고 있다.",
    "남자가 바이올린을 연주하고 있다.",
    "내일 서울에는 비가 내리겠습니다.",
    "우산을 챙겨 나가세요.",
)
SWAP_SECONDS = 300.0
REPLIES = 20
"""Replies of a version to wait for before the next step."""

UNSET = (
    "MUNJANG_ALIASES",
    "MUNJANG_KEEP_PREVIOUS",
    "MUNJANG_TLS_CERT",
    "MUNJANG_TLS_KEY",
    "MUNJANG_TLS_CLIENT_CA",
    "MUNJANG_TOKENS_FILE",
    "MUNJANG_INPUT_ROOTS",
    "MUNJANG_OUTPUT_ROOTS",
)
"""Settings of another installation, which a demonstration ignores."""


def demo(
    *,
    rollover: Annotated[
        bool,
        typer.Option("--rollover", help="Change the model of a search, and check every promise on the way."),
    ] = False,
) -> None:
    """See it work in a temporary folder: encode, compare, swap the model under running calls, and go back.

    With --rollover a corpus is re-embedded with another model while the first one serves; both are searched, the new
    one is promoted, callers who pin the old one still get it, and it is retired. Exit status 1 if a promise is broken.

    Takes about a minute, twice that where no starter was made before: one that `munjang up` made is taken again.
    Leaves nothing behind.

    Examples:
      munjang demo

      munjang demo --rollover
    """
    out = console.stdout()
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="munjang-demo-") as folder:
        home = Home(Path(folder), kept=False)
        with home.claimed(), console.status_line() as tell:
            plan = _plan(home, rollover=rollover)
            with Stack(plan, signals, tell) as stack:
                try:
                    _rollover(out, stack, tell) if rollover else _tour(out, stack, tell)
                except Interrupted:
                    raise typer.Exit(signals.exit_status) from None
                except ChildDied as error:
                    tell("")
                    error.tell()
                    raise typer.Exit(1) from error
    _head(out, f"Everything has ended and the folder is gone. `{shell_command('munjang')} up` starts one that stays.")


def _plan(home: Home, *, rollover: bool) -> Plan:
    clean = {"registry": "", "redis_url": "", "redis_port": 0, "metrics_port": 0, "worker_metrics_port": 0}
    settings = read_settings(UpSettings).model_copy(update=clean)
    plan = make_plan(settings, home, LOOPBACK, 0, worker=rollover)
    kept = {name: str(UpSettings.model_fields[name.removeprefix("MUNJANG_").lower()].default) for name in UNSET}
    return replace(plan, extra=kept | ({"MUNJANG_ALIASES": f"{DEFAULT},{CANDIDATE}"} if rollover else {}))


def _tour(out: Console, stack: Stack, tell: Callable[[str], None]) -> None:
    _head(out, "1. A registry with first models, and a server")
    with _started(out, stack, tell, adapter=True) as client:
        _encode(out, client)
        _head(out, "3. Which sentences are alike")
        _compare(out, client)
        _swap(out, stack, client, Registry(stack.plan.registry), tell)


def _rollover(out: Console, stack: Stack, tell: Callable[[str], None]) -> None:
    from munjang.client.jobs import JobQueue  # noqa: PLC0415 - redis and rq, which the tour does not need

    stack.start_queue(SWAP_SECONDS)
    with _started(out, stack, tell, adapter=False) as client, closing(JobQueue(stack.plan.redis_url)) as queue:
        Drill(out, stack, client, queue, tell).run()


@contextmanager
def _started(out: Console, stack: Stack, tell: Callable[[str], None], *, adapter: bool) -> Iterator[Client]:
    """Publish first models and start the programs; yields a client of the server, which is ready and has the first."""
    with Client(stack.plan.target) as client:
        with _timed(out, "ready"):
            settings = read_settings(TrainerSettings)
            tell("looking for a starter of an earlier start")
            if not settings.model and first.reuse(settings.registry_url, stack.plan.registry, adapter=adapter):
                first.copy_exports(settings.cache_folder, stack.plan.home.folder / "cache")
            else:
                stack.publish_first(model="", wanted=False, adapter=adapter)
            registry = Registry(stack.plan.registry)
            registry.promote(DEFAULT, registry.versions()[0], "munjang demo")
            stack.start_programs()
            stack.wait_ready(client, SWAP_SECONDS)
            tell("")
        yield client


def _encode(out: Console, client: Client) -> None:
    _head(out, "2. Sentences in, vectors out")
    found = client.encode(SENTENCES)
    out.print(f"{len(found)} sentences → float32 {found.vectors.shape}, tokens {found.token_counts.tolist()}")
    out.print(f"every vector is by version {found.version}: vectors of different versions never mix")


def _compare(out: Console, client: Client) -> None:
    found = client.similarity(SENTENCES)
    out.print(heat_map(SENTENCES, found.scores, f"{found.function} similarity · version {found.version}", out.width))


def _swap(out: Console, stack: Stack, client: Client, registry: Registry, tell: Callable[[str], None]) -> None:
    _head(out, "4. A new version goes live under running calls, and back")
    old = registry.resolve(DEFAULT)
    with Callers(client, SENTENCES) as callers, callers.shown(tell):
        _wait(stack, callers, old)
        new = _second(registry, old)
        out.print(f"version {new} is published; the callers go on with version {old}")
        with _timed(out, f"promoted: all calls are answered by version {new}"):
            registry.promote(DEFAULT, new, "munjang demo")
            _wait(stack, callers, new)
        _compare(out, client)
        pinned = client.encode(SENTENCES, version=old)
        out.print(f"a call that pins version {pinned.version} is still answered by it")
        with _timed(out, f"rolled back: all calls are answered by version {old}"):
            registry.rollback(DEFAULT, "munjang demo")
            _wait(stack, callers, old)
    out.print(f"{callers.summary()}; slowest {callers.slowest * 1000:.0f} ms; each reply named exactly one version")
    if failed := callers.failures.total():
        msg = f"{failed} calls failed during the swap: {dict(callers.failures)}"
        raise MunjangError(msg)


def _second(registry: Registry, version: int) -> int:
    """The tuned starter; of a model of yours, the same again with another note on how it was made."""
    if others := [other for other in registry.versions() if other != version]:
        return others[-1]
    manifest = registry.manifest(version)
    folder = registry.local_folder(version)
    assert folder is not None  # noqa: S101 - the demonstration's registry is a folder
    description = first.describe(manifest).model_copy(update={"recipe": "munjang demo: a copy"})
    return registry.publish(folder, description).version


def _wait(stack: Stack, callers: Callers, version: int) -> None:
    """Wait until a version has given some more replies."""
    enough = callers.answered[version] + REPLIES
    stack.wait(f"version {version}", SWAP_SECONDS, lambda: callers.answered[version] >= enough)


def _head(out: Console, title: str) -> None:
    out.print()
    out.print(title, style="bold green", markup=False)


@contextmanager
def _timed(out: Console, what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    out.print(f"{what} ({time.monotonic() - begun:.1f} s)")
