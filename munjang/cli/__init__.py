"""The `munjang` command: one module per command, mounted in `main`. Starts server, worker and trainer by name only.

console (what is printed where) · options (shared by commands that call a server) · texts (what to encode) · encode,
similarity · versions · jobs · stack (the processes of `up`) · up, demo · bench
"""

from __future__ import annotations

import os
import sys

from munjang.cli.extras import extra_of, hint


def run() -> None:
    """The entry point of the `munjang` command; it works, and says what is missing, on the base install too."""
    open_standard_descriptors()
    try:
        from munjang.cli.main import main  # noqa: PLC0415 - needs what the base install lacks
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "munjang":
            raise
        sys.exit(f"error: the command line needs {error.name}: {hint(extra_of(sys.argv[1:]))}")
    sys.exit(main())


def open_standard_descriptors() -> None:
    """Put /dev/null in the place of closed ones of 0, 1 and 2, which the next file or connection would get.

    Python's own streams stay None, so that a result for a closed standard output is still an error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - takes no keyword
