"""The command line of the server: serve, or create a token. An error is one clear line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from munjang.errors import ConfigurationError, MunjangError
from munjang.settings import ServerSettings, unknown_variables
from munjang.telemetry import setup_logging
from munjang_server.shutdown import StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAD_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    wanted = _parser().parse_args(arguments)
    try:
        settings = ServerSettings()
        if wanted.command == "token":
            return _token(wanted, settings)
        setup_logging(settings)
        for line in unknown_variables():
            structlog.get_logger("munjang.server").warning(line)
        _quieten_grpc()
        return _run(settings)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            _say(f"MUNJANG_{name}: {problem['msg']}")
    except MunjangError as error:
        _say(str(error))
    return BAD_START


def _run(settings: ServerSettings) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: ServerSettings) -> int:
    from munjang_server.app import App  # noqa: PLC0415 - `--help` should not wait for torch

    stop = StopSignal()
    return await App(settings).run(stop)


def _token(wanted: argparse.Namespace, settings: ServerSettings) -> int:
    from munjang_server.security.authentication import create_token  # noqa: PLC0415 - of use to this command alone

    if not settings.tokens_file:
        msg = "set MUNJANG_TOKENS_FILE to the file that should hold the tokens"
        raise ConfigurationError(msg, field="tokens_file")
    path = Path(settings.tokens_file)
    secret = create_token(
        path,
        wanted.name,
        admin=wanted.admin,
        texts_per_second=wanted.texts_per_second,
        tokens_per_second=wanted.tokens_per_second,
    )
    print(secret)  # noqa: T201 - the answer of the command
    _say(f"added {wanted.name!r} to {path}. Keep the token now: only its hash is stored.")
    return 0


def _say(line: str) -> None:
    print(f"munjang server: {line}", file=sys.stderr)  # noqa: T201 - for a person


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop of uvloop if it is installed, else None for Python's own."""
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _quieten_grpc() -> None:
    """Set gRPC's defaults before it is imported, unless they are set: no fork handlers, and no log lines about them."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="munjang serve",
        description="The munjang gRPC server. Its settings are environment variables, MUNJANG_PORT for example; "
        "docs/settings.md lists them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    token = commands.add_parser("token", help="manage bearer tokens").add_subparsers(required=True, metavar="COMMAND")
    new = token.add_parser(
        "new",
        help="create a token",
        description="Create a bearer token, print it, and add its hash to the file that MUNJANG_TOKENS_FILE names. A "
        "running server takes it at once.",
        epilog="example: MUNJANG_TOKENS_FILE=tokens.toml munjang serve token new search --texts-per-second 500",
    )
    new.add_argument("name", help="whose token it is; seen in logs")
    new.add_argument("--admin", action="store_true", help="let it promote and roll back versions too")
    new.add_argument("--texts-per-second", type=_rate, default=0.0, metavar="N", help="limit its texts; 0 is no limit")
    new.add_argument(
        "--tokens-per-second", type=_rate, default=0.0, metavar="N", help="limit its model tokens; 0 is no limit"
    )
    return parser


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate < float("inf"):
        msg = "a rate is a number from 0 up"
        raise argparse.ArgumentTypeError(msg)
    return rate
