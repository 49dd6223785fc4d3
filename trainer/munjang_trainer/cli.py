"""The trainer's command line: mounts the modules of `munjang_trainer.commands`, and prints errors in one sentence.

A command module is light: it imports torch only when the command runs, so `--help` is quick.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from munjang.errors import MunjangError
from munjang.output_file import FolderTaken
from munjang.settings import unknown_variables
from munjang_trainer.commands.adapter import adapter
from munjang_trainer.commands.evaluate import evaluate
from munjang_trainer.commands.prepare import prepare
from munjang_trainer.commands.starter import starter
from munjang_trainer.commands.train import crossvalidate, publish, train
from munjang_trainer.commands.train import run as run_recipe

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(name="trainer", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def trainer() -> None:
    """Prepare data, train, evaluate, gate and publish Korean sentence-embedding models."""


app.command()(starter)
app.command()(prepare)
app.command()(train)
app.command()(crossvalidate)
app.command()(evaluate)
app.command()(publish)
app.command()(adapter)
app.command("run")(run_recipe)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def run() -> None:
    """Run the command line; an error that munjang raises ends with exit status 1 and one sentence on stderr.

    A folder with files of others ends with status 2, as a wrong option does: nothing was changed.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # by an exception, so that temporary folders are deleted
    for line in unknown_variables():
        Console(stderr=True).print(f"[bold yellow]warning[/]: {escape(line)}", highlight=False, soft_wrap=True)
    try:
        app(prog_name="munjang train")
    except MunjangError as error:
        Console(stderr=True).print(f"[bold red]error[/]: {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, FolderTaken) else 1)
