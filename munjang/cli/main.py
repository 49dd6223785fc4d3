"""The whole command line: mounts the commands, prints errors in one line, and sets the exit status.

Exit status: 0 success · 1 failure, with one line on standard error · 2 wrong usage · 130 interrupted.
"""

import io
import sys
import traceback
from typing import Annotated

import typer

from munjang import __version__
from munjang.cli import console, extras, index, jobs, models, programs, versions
from munjang.cli.bench import bench
from munjang.cli.demo import demo
from munjang.cli.encode import encode
from munjang.cli.health import health
from munjang.cli.options import read_settings
from munjang.cli.programs import shell_command
from munjang.cli.rerank import rerank
from munjang.cli.similarity import similarity
from munjang.cli.up import up
from munjang.errors import MunjangError, ServerUnreachable
from munjang.output_file import FolderTaken
from munjang.settings import Settings, unknown_variables

WRONG_USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    name="munjang",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command()(up)
app.command()(demo)
app.command()(encode)
app.command()(similarity)
app.command()(rerank)
app.command()(health)
app.add_typer(versions.app, name="versions")
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(index.app, name="index")
app.command()(bench)
programs.mount(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"munjang {__version__}\n")
        raise typer.Exit


@app.callback()
def munjang(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Korean sentence embeddings, served and hot-swapped."""
    if context.invoked_subcommand not in programs.MODULES:  # those say it themselves
        for line in unknown_variables():
            console.note(line)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in {"utf-8", "utf8"}:
            stream.reconfigure(errors="backslashreplace")
    with console.checked_streams():
        return _run(arguments)


def run() -> None:
    """Run the command of this process and exit."""
    sys.exit(main())


def _run(arguments: list[str] | None) -> int:
    try:
        try:
            app(arguments, prog_name="munjang")
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except ServerUnreachable as error:
        console.fail(f"{error} — is a server running? `{shell_command('munjang')} up` starts one")
    except FolderTaken as error:
        console.fail(str(error))
        return WRONG_USAGE
    except MunjangError as error:
        console.fail(str(error))
    except OSError as error:
        console.fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:  # noqa: BLE001 - a traceback helps nobody but us; MUNJANG_LOG_LEVEL=debug shows it
        if needed := extras.lacking(error, sys.argv[1:] if arguments is None else arguments):
            console.fail(needed)
            return 1
        console.fail(f"this should not have happened: {type(error).__name__}: {error}")
        if read_settings(Settings).log_level == "debug":
            traceback.print_exc()
    return 1
