"""A disk that fills up: a tmpfs in a mount namespace of its own, made without root where Linux lets users do that."""

from __future__ import annotations

import subprocess
from pathlib import Path

BLOCK = 4096


class SmallDisk:
    """A folder with little room, seen by programs that are started with `prefix`; use it in a `with` statement.

    Attributes:
        folder: where programs see it.
        here: the same folder as this process, which is outside, sees it.
        prefix: a command that runs a program inside.
    """

    def __init__(self, folder, megabytes):
        self.folder = folder
        folder.mkdir()
        mount = f'mount -t tmpfs -o size={megabytes}m small "$0" && echo mounted && cat'
        self._holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = self._holder.stdout.readline().strip()
        self.prefix = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", str(self._holder.pid)]
        self.here = Path(f"/proc/{self._holder.pid}/root{folder}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(30)

    @property
    def works(self):
        """Whether the machine lets us do this."""
        return self.said == "mounted"

    def fill(self, leave=0):
        """Take all room but so many bytes."""
        self.free()
        with (self.here / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(BLOCK))
            except OSError:
                pass
            file.truncate(max(0, file.tell() - leave))

    def free(self):
        """Give the room back."""
        (self.here / "ballast").unlink(missing_ok=True)
