"""Generates munjang/client/sync_client.py from async_client.py; `--check` only says whether it is current.

The client is written once, with `async` and `await`. Its sync twin is the same text with the words of the table below
replaced, formatted by ruff. What cannot be replaced word by word is in async_concurrency.py and sync_concurrency.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "munjang" / "client" / "async_client.py"
TARGET = SOURCE.with_name("sync_client.py")

RUFF = Path(sysconfig.get_path("scripts")) / "ruff"

HEAD = """\
# Generated from async_client.py by `python -m tools.unasync`. Edit that file, not this one.
"""

REPLACEMENTS = (
    # Lines that an event loop alone needs.
    (r"\n[^\n]*  # async only[^\n]*", ""),
    (r", OwnLoop\b", ""),
    # Sentences that are true of one of the two only.
    (
        r'"""AsyncClient: (.*?), for programs with an event loop\.\n.*?"""',
        r'"""Client: \1, for programs without an event loop."""',
    ),
    (r"It belongs to one event loop\.", "Threads may share it."),
    (r"The items may be asynchronous; others are read on the event loop\.", "A thread of its own reads the items."),
    # Syntax.
    (r"\ban `async with`", "a `with`"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    # Names.
    (r"\bgrpc\.aio\.AioRpcError\b", "grpc.RpcError"),
    (r"\bgrpc\.aio\.", "grpc."),
    (r"\b(\w+Service)AsyncStub\b", r"\1Stub"),
    (r"\basync_concurrency\b", "sync_concurrency"),
    (r"\bAsyncStream\b", "SyncStream"),
    (r"\bAsync(Client|Closing|Connection|Items|Iterator)\b", r"\1"),
)


def main() -> int:
    """Write the sync client, or with `--check` compare it; 1 if it is not current."""
    fresh = generated(SOURCE.read_text(encoding="utf-8"))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(fresh, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == fresh:
        return 0
    sys.stderr.write(
        f"{TARGET.relative_to(ROOT)} is not current: run `python -m tools.unasync` and commit the result\n"
    )
    return 1


def generated(source: str) -> str:
    """The sync client of an async one.

    Raises:
        ValueError: a word of asyncio is left, which the table does not know.
    """
    text = source
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    if left := re.search(r"\w*(async|await|\baio\b)\w*", text, re.IGNORECASE):
        msg = f"tools/unasync.py has no replacement for {left[0]!r}"
        raise ValueError(msg)
    return _ruff(_ruff(HEAD + text, "check", "--fix", "--select", "I"), "format")


def _ruff(text: str, *command: str) -> str:
    arguments = [str(RUFF), *command, "--quiet", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(arguments, input=text, stdout=subprocess.PIPE, check=True, text=True, cwd=ROOT).stdout  # noqa: S603 - our own tool


if __name__ == "__main__":
    sys.exit(main())
