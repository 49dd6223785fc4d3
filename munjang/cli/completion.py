"""What a shell may complete: versions, aliases, prompts and jobs. Quick, and silent where nothing can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

from munjang.cli.jobs import connect
from munjang.cli.options import Server, found_settings
from munjang.client import RetryPolicy
from munjang.registry import Registry

WAIT_SECONDS = 2.0
"""The longest that a person waits for a key."""

Items = Iterable[tuple[str, str]]
"""Words, and what stands beside each."""

Complete = Callable[[typer.Context, str], list[tuple[str, str]]]


def _silent(find: Callable[[dict[str, Any]], Items]) -> Complete:
    """A function as typer takes it, of one that takes the options that were typed."""

    def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        with suppress(Exception):  # nobody can be told while a command is being typed
            found += find({name: value for name, value in context.params.items() if value})
        return [(word, said) for word, said in found if word.startswith(incomplete)]

    return complete


def _versions(given: dict[str, Any]) -> Items:
    """Numbers and aliases of the server that was typed, else of the registry at hand, else of the server."""
    registry = None if given.get("target") else _registry(given)
    if registry:
        names = {name: record.version for name, record in registry.aliases().items()}
        numbers = [(str(number), "") for number in reversed(registry.versions())]
    else:
        with _client(given) as client:
            names = {name: info.version for name, info in client.aliases().items()}
            numbers = [(str(info.version), info.state) for info in client.versions()]
    return [*((name, f"version {number}") for name, number in names.items()), *numbers]


def _prompts(given: dict[str, Any]) -> Items:
    """Names of the prompts of the version that was typed, else of stable."""
    name = given.get("version") or ""
    registry = None if given.get("target") else _registry(given)
    if registry:
        return registry.manifest(registry.resolve(name)).prompts.items()
    with _client(given) as client:
        prompts: Items = client.version(name).prompts.items()
    return prompts


def _jobs(given: dict[str, Any]) -> Items:
    """Ids of the newest jobs of the queue or the server."""
    with connect(str(given.get("redis", "")), Server(target=given.get("target", ""), timeout=WAIT_SECONDS)) as jobs:
        return [(job.id, f"{job.state} {job.spec.input}") for job in jobs.recent(20)]


def _registry(given: dict[str, Any]) -> Registry | None:
    """The registry that was typed or is at hand, if it is one."""
    registry = Registry(given.get("registry") or found_settings().registry_url)
    return registry if registry.exists() else None


@contextmanager
def _client(given: dict[str, Any]) -> Iterator[Any]:

    options = {name: given[name] for name in ("target", "token", "tls", "ca", "cert", "key") if name in given}
    with Server(**options, timeout=WAIT_SECONDS).connect(retry=RetryPolicy(attempts=1)) as client:
        yield client


versions = _silent(_versions)
prompts = _silent(_prompts)
jobs = _silent(_jobs)
