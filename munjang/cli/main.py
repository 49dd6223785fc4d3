"""The whole command line: mounts the commands, prints errors in one line, and sets the exit status.

Exit status: 0 success · 1 failure, with one line on standard error · 2 wrong usage · 130 interrupted.
"""

import io
import sys
import traceback
from typing import Annotated

import typer

from munjang import __version__
from munjang.cli import console, extras, programs
from munjang.cli.lazy import Later, lazy_group, mount
from munjang.cli.programs import shell_command
from munjang.cli.usage import WrongUsage
from munjang.errors import MunjangError, ServerUnreachable, Unauthenticated
from munjang.output_file import FolderTaken

WRONG_USAGE = 2
INTERRUPTED = 130

COMMANDS = {
    "up": Later(
        "munjang.cli.up:up", "Start everything on this machine: registry, job queue, server and worker. Ctrl-C ends it."
    ),
    "demo": Later(
        "munjang.cli.demo:demo",
        "See it work in a temporary folder: encode, compare, swap the model under running calls, and go back.",
    ),
    "encode": Later("munjang.cli.encode:encode", "Turn texts into vectors."),
    "similarity": Later(
        "munjang.cli.similarity:similarity",
        "Compare every text with every other by the model's own similarity function.",
    ),
    "search": Later(
        "munjang.cli.search:search",
        "Search texts by meaning: the nearest to a question, by the model's own similarity function.",
    ),
    "rerank": Later(
        "munjang.cli.rerank:rerank", "Order documents by how well they answer a query, by a cross-encoder."
    ),
    "health": Later(
        "munjang.cli.health:health",
        "Ask a server whether it is ready: exit status 0 as soon as it is, 1 if not within the timeout.",
    ),
    "versions": Later(
        "munjang.cli.versions:app", "List, publish, promote, roll back, verify and remove model versions."
    ),
    "models": Later("munjang.cli.models:app", "Show models that Korean teams use, and what each needs."),
    "jobs": Later("munjang.cli.jobs:app", "Submit, list, watch, cancel and retry bulk jobs."),
    "index": Later(
        "munjang.cli.index:app", "Load vectors into a search index, update it, move it to another version, check it."
    ),
    "bench": Later(
        "munjang.cli.bench:bench",
        "Measure throughput and latency of a server under load. Nothing is retried: each failure counts.",
    ),
}
"""The commands, in the order of the help; each loads its module when it is called, so that the help comes at once."""

app = typer.Typer(
    name="munjang",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)
mount(app, COMMANDS)
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
        from munjang.settings import unknown_variables  # noqa: PLC0415 - pydantic, for which no help should wait

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
        here = "" if error.field else f" — is a server running? `{shell_command('munjang')} up` starts one"
        console.fail(f"{error}{here}")
    except Unauthenticated as error:
        console.fail(
            f"{error} — set MUNJANG_TOKEN, or --token; `{shell_command('munjang')} serve token new NAME` makes one"
        )
    except (FolderTaken, WrongUsage) as error:
        console.fail(str(error))
        return WRONG_USAGE
    except MunjangError as error:
        console.fail(str(error))
    except OSError as error:
        console.fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:  # noqa: BLE001 - a traceback helps nobody but us; MUNJANG_LOG_LEVEL=debug shows it
        _tell_unexpected(error, sys.argv[1:] if arguments is None else arguments)
    return 1


def _tell_unexpected(error: Exception, arguments: list[str]) -> None:
    """Name the extra that is missing, or what should not have happened."""
    if needed := extras.lacking(error, arguments):
        console.fail(needed)
        return
    console.fail(f"this should not have happened: {type(error).__name__}: {error}")
    if _is_debugging():
        traceback.print_exc()


def _is_debugging() -> bool:
    from munjang.cli.options import read_settings  # noqa: PLC0415 - pydantic, for which no help should wait
    from munjang.settings import Settings  # noqa: PLC0415 - the same

    return read_settings(Settings).log_level == "debug"
