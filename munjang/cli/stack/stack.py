"""A running stack: started in order, watched, stopped in order. However it ends, no process is left running."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from munjang.child_process import ChildProcess, OrphanReaper
from munjang.child_process import stop as stop_children
from munjang.cli import console
from munjang.cli.stack import first, valkey
from munjang.cli.stack.plan import answers
from munjang.errors import DeadlineExceeded, MunjangError
from munjang.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from munjang.cli.stack.plan import Plan
    from munjang.cli.stack.signals import Signals
    from munjang.client import Client

LOOK_SECONDS = 0.1
"""How often children are checked."""

FIRST_SECONDS = 3600.0
"""The longest that publishing the first model may take: a large one may come from a hub."""

KILL_SECONDS = 5.0
"""How much longer a child may take to end than its own limit."""


class ChildDied(MunjangError):
    """A child ended by itself. `child` says which."""

    def __init__(self, child: ChildProcess) -> None:
        super().__init__(f"{child.name} ended by itself with status {child.status()}")
        self.child = child

    def tell(self) -> None:
        """Print it with the end of the child's log."""
        console.fail(f"{self}; the end of {self.child.log}:")
        for line in self.child.tail():
            console.note(f"  {line}")


class Interrupted(MunjangError):
    """A signal asked to end during a wait."""


class Stack:
    """The children of one plan; use it in a `with` statement.

    Args:
        plan: what to run.
        signals: tell when to end everything.
        tell: takes, in a few words, what happens now.
    """

    def __init__(self, plan: Plan, signals: Signals, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self._signals = signals
        self._tell = tell
        self._reaper = OrphanReaper()
        self._children: list[ChildProcess] = []
        self._watched: list[ChildProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._reaper.close()

    def start_queue(self, seconds: float) -> None:
        """Start Valkey, if the plan has one.

        Raises:
            ConfigurationError: there is no binary.
            MunjangError: it did not start to answer.
        """
        if not self.plan.redis_port:
            return
        self._tell("starting Valkey")
        command = valkey.command(valkey.find_binary(), self.plan.redis_port, self.plan.home.redis)
        self._start("valkey", command)
        self.wait("Valkey", seconds, lambda: valkey.ready(self.plan.redis_port))

    def publish_first(self, *, model: str, wanted: bool, adapter: bool = True) -> None:
        """Publish first models if the registry is empty, or in any case if `wanted`.

        Args:
            model: a folder or hub id; empty leaves it to the setting, and that to the starter model.
            wanted: publish it and point `stable` at it even if there are other versions.
            adapter: publish the tuned starter as well.

        Raises:
            MunjangError: it could not be published.
        """
        if not (wanted or first.needed(self.plan.registry)):
            return
        self._tell("publishing the first model (once, about a minute)")
        scratch = self.plan.home.scratch
        scratch.mkdir(exist_ok=True)
        named = {"TMPDIR": str(scratch)} | ({"MUNJANG_MODEL": model} if model else {})
        command = first.command(promote=wanted, adapter=adapter)
        child = self._start("starter", command, extra=named, once=True)
        relay = threading.Thread(
            target=first.relay, args=(child, lambda line: self._tell(f"publishing the first model: {line}"))
        )
        relay.start()
        try:
            self.wait("the first model", FIRST_SECONDS, lambda: child.status() is not None)
        finally:
            child.kill()
            relay.join()
            shutil.rmtree(scratch, ignore_errors=True)  # a child that was killed deletes nothing itself
        first.check(child, kept=self.plan.home.kept)

    def start_programs(self) -> None:
        """Start server and worker, and wait for neither."""
        self._tell("starting server" + (" and worker" if self.plan.worker else ""))
        self._start("server", [sys.executable, "-P", "-m", "munjang_server"])
        if self.plan.worker:
            self._start("worker", [sys.executable, "-P", "-m", "munjang_worker"])

    def wait_ready(self, client: Client, seconds: float) -> None:
        """Return when the server serves and the worker works.

        Raises:
            MunjangError: a child ended, the model cannot serve, or time ran out.
            Interrupted: asked to end.
        """
        self._tell("loading the model")
        self.wait("the server", seconds, lambda: _serves(client))
        if self.plan.worker:
            self._tell("waiting for the worker")
            self.wait("the worker", seconds, lambda: answers(*self.plan.worker_metrics))

    def wait(self, what: str, seconds: float, ready: Callable[[], bool]) -> None:
        """Return when something is ready, which is checked repeatedly.

        Raises:
            ChildDied: a child ended by itself.
            Interrupted: asked to end.
            DeadlineExceeded: time ran out.
        """
        for _ in self._moments(what, seconds):
            if ready():
                return

    def watch(self) -> None:
        """Return when a signal asks to end.

        Raises:
            ChildDied: a child ended by itself.
        """
        while not self._signals.asked.wait(LOOK_SECONDS):
            self._look()

    def check(self) -> None:
        """Return if all is well.

        Raises:
            ChildDied: a child ended by itself.
            Interrupted: asked to end.
        """
        self._look()
        if self._signals.asked.is_set():
            msg = "asked to end"
            raise Interrupted(msg)

    def stop(self) -> None:
        """End all children: the programs, then Valkey, which they need."""
        groups = [
            ([child for child in self._children if child.name != "valkey"], self.plan.drain_seconds),
            ([child for child in self._children if child.name == "valkey"], 0.0),
        ]
        for children, seconds in groups:
            self._end(children, seconds + KILL_SECONDS)
        self._children.clear()
        self._watched.clear()

    def pids(self) -> dict[str, int]:
        """The process ids of the children, by name."""
        return {child.name: child.pid for child in self._children}

    def _end(self, children: Sequence[ChildProcess], seconds: float) -> None:
        running = [child for child in children if child.status() is None]
        if running:
            self._tell("ending " + " and ".join(child.name for child in running))
        stop_children(running, seconds, number=self._signals.first, impatient=self._signals.impatient.is_set)

    def _start(
        self, name: str, command: Sequence[str], *, extra: dict[str, str] | None = None, once: bool = False
    ) -> ChildProcess:
        """Start a child; one that does its work `once` may end by itself, and its standard output is piped."""
        environment = self.plan.environment() | (extra or {})
        log = self.plan.home.log(name)
        child = ChildProcess(command, name=name, environment=environment, log=log, piped=once, reaper=self._reaper)
        self._children.append(child)
        if not once:
            self._watched.append(child)
        return child

    def _moments(self, what: str, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look()
            yield
            if self._signals.asked.wait(LOOK_SECONDS):
                msg = f"ended while waiting for {what}"
                raise Interrupted(msg)
        msg = f"{what} was not ready within {seconds:g} s"
        raise DeadlineExceeded(msg)

    def _look(self) -> None:
        for child in self._watched:
            if child.status() is not None:
                raise ChildDied(child)


def _serves(client: Client) -> bool:
    """Whether the server serves.

    Raises:
        MunjangError: the model cannot serve, so waiting is useless.
    """
    try:
        client.wait_ready(1.0)
    except DeadlineExceeded:
        if reason := _failure(client):
            raise MunjangError(reason) from None
        return False
    return True


def _failure(client: Client) -> str:
    """Why the version behind `stable` cannot serve, or nothing."""
    try:
        alias = client.aliases(timeout=1.0).get(DEFAULT)
        if alias is None or alias.serving:
            return ""
        info = client.version(alias.version, timeout=1.0)
    except MunjangError:
        return ""
    return f"version {info.version} cannot serve: {info.reason}" if info.state == "failed" else ""
