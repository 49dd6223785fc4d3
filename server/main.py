"""The command line of the server: serve, or one clear line about why not."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING

from pydantic import ValidationError

from munjang.errors import MunjangError
from munjang.settings import ServerSettings
from munjang.telemetry import setup_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAD_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _parser().parse_args(arguments)
    _quieten_grpc()
    try:
        settings = ServerSettings()
        setup_logging(settings)
        return _run(settings)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"munjang server: MUNJANG_{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - for a person
    except MunjangError as error:
        print(f"munjang server: {error}", file=sys.stderr)  # noqa: T201 - for a person
    return BAD_START


def _run(settings: ServerSettings) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: ServerSettings) -> int:
    from server.app import App  # noqa: PLC0415 - `--help` shall not wait for torch
    from server.lifecycle import Stop  # noqa: PLC0415 - the same

    stop = Stop()
    return await App(settings).run(stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's loop where that is installed, else None for Python's own."""
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _quieten_grpc() -> None:
    """Choose for gRPC, before it is imported, unless somebody chose already: no fork handlers, no lines about them."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m server",
        description="The munjang gRPC server. All its settings are environment variables, MUNJANG_PORT for example; "
        "docs/settings.md lists them.",
    )
