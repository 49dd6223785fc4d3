"""Starts the server, the worker and the trainer by name, and tells how to call our programs from a shell."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

import typer  # noqa: TC002 - typer reads the annotations

from munjang.cli import extras
from munjang.errors import ConfigurationError

MODULES = {"serve": "munjang_server", "work": "munjang_worker", "train": "munjang_trainer"}
"""The package behind each command; a name only, because the command line imports no program."""


def shell_command(name: str) -> str:
    """What to type for a program that is installed beside this one: `munjang`, or `.venv/bin/munjang`.

    The bare name if the shell would find that very program; else its path, relative if it is below the
    working directory. The bare name too if it is not installed as a program at all.
    """
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not beside.is_file() or (found is not None and Path(found).resolve() == beside.resolve()):
        return name
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def installed(module: str) -> bool:
    """Whether `python -m MODULE` can be run: it is here, and so is all that its extra names."""
    try:
        here = importlib.util.find_spec(f"{module}.__main__") is not None
    except ModuleNotFoundError:
        return False
    return here and not extras.missing(module.removeprefix("munjang_"))


def serve(context: typer.Context) -> None:
    """Run the gRPC server; `serve token new NAME` makes a bearer token."""
    _become(context)


def work(context: typer.Context) -> None:
    """Run a worker for bulk jobs."""
    _become(context)


def train(context: typer.Context) -> None:
    """Prepare data, train, evaluate and publish models."""
    _become(context)


def mount(app: typer.Typer) -> None:
    """Add the commands that start programs; their arguments, `--help` included, are passed on to the program."""
    unread = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for command in (serve, work, train):
        app.command(context_settings=unread, add_help_option=False)(command)


def _become(context: typer.Context) -> None:
    """Replace this process with the program, so that signals and the exit status are the program's own.

    Raises:
        ConfigurationError: the extra that has the program is not installed.
    """
    command = str(context.info_name)
    module, extra = MODULES[command], extras.extra_of([command, *context.args])
    if lacking := extras.missing(extra):
        msg = f"`munjang {command}` needs {lacking}, which is not installed: {extras.hint(extra)}"
        raise ConfigurationError(msg)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *context.args])  # noqa: S606 - our own module
