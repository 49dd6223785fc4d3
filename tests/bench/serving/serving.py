"""Our own server as a process of the benchmark: its port, what its metrics page counts, and the memory it takes."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.request import urlopen

from munjang.cli.stack.plan import free_port
from munjang.client import AsyncClient, RetryPolicy
from tests.bench.serving.metrics import Page, parse
from tests.bench.speed import servers

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence

    from tests.bench.speed.context import Context
    from tests.bench.speed.servers import Server

T = TypeVar("T")

LOOK_SECONDS = 0.2
LONGEST = 60.0

_loop = asyncio.Runner()
"""One loop for the whole run: grpc.aio complains where a process has had several."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns."""
    return _loop.run(work)


@dataclass
class Serving:
    """A running one.

    Attributes:
        server: its process.
        metrics_port: of its metrics page.
    """

    server: Server
    metrics_port: int

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server.port}"

    def metrics(self) -> Page:
        """What it has counted until now."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=LONGEST) as page:
            return parse(page.read().decode())

    def rss(self) -> int:
        """Resident bytes."""
        return sum(process.memory_info().rss for process in self.server.processes())

    def memory(self) -> dict[str, int]:
        """Resident bytes, and the same with shared pages counted by their share."""
        return {"rss": self.rss(), "pss": self.server.memory()}


@contextmanager
def serving(
    context: Context,
    *,
    program: Sequence[str] = ("-m", "munjang_server"),
    name: str = "munjang",
    port: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
    **settings: object,
) -> Iterator[Serving]:
    """Our server on the context's registry, ready, and ended afterwards; settings as keyword arguments."""
    metrics_port = free_port()
    ours = servers.ours(context.registry, context.home)
    given = {f"MUNJANG_{key.upper()}": str(value) for key, value in settings.items()}
    whole = {**ours.environment, "MUNJANG_METRICS_PORT": str(metrics_port), **given, **environment}
    spec = replace(ours, name=name, command=[sys.executable, *program], environment=whole)
    with servers.running(spec, context.work, port=port) as server:
        yield Serving(server, metrics_port)


def client(targets: str | Sequence[str], timeout: float = LONGEST) -> AsyncClient:
    """A client that tries nothing twice, so that every failure counts."""
    return AsyncClient(targets, retry=RetryPolicy(attempts=1), batch_size=1024, timeout=timeout)


class MemoryWatch:
    """Looks at the resident memory of a server all the while; use it in a `with` statement.

    Attributes:
        first: resident bytes when it began.
        highest: the most that was seen.
        last: resident bytes when it ended.
    """

    def __init__(self, watched: Serving) -> None:
        self._watched = watched
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory-watch")
        self.first = self.highest = self.last = 0

    def __enter__(self) -> Self:
        self.first = self.highest = self._watched.rss()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.last = self._watched.rss()
        self.highest = max(self.highest, self.last)

    def json(self) -> dict[str, int]:
        """What was seen."""
        return {"first": self.first, "highest": self.highest, "last": self.last}

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.highest = max(self.highest, self._watched.rss())
