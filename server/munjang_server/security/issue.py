"""Making tokens: a new secret for a person to keep, and its hash in the token file."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang.output_file import output_file
from munjang_server.call import Permission
from munjang_server.security.tokens import NAME, read_tokens

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "mj_"
"""Lets secret scanners and people see what it is."""


def issue(path: Path, name: str, *, admin: bool, texts_per_second: float, tokens_per_second: float) -> str:
    """Make a token, add it to the file, which need not exist yet, and return it. It cannot be had again.

    Raises:
        ConfigurationError: the name is not one, or taken; the file is not valid or cannot be written.
    """
    if not re.fullmatch(NAME, name):
        msg = f"{name!r} cannot name a token: letters, digits, - and _ only, 64 at most"
        raise ConfigurationError(msg)
    if path.is_file() and name in read_tokens(path).tokens:
        msg = f"{path} has a token {name!r} already; remove its lines first to replace it"
        raise ConfigurationError(msg)
    secret = PREFIX + secrets.token_urlsafe(32)
    permissions = [Permission.CALL, Permission.ADMIN] if admin else [Permission.CALL]
    lines = [
        f"[tokens.{name}]",
        f'sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"',
        f"permissions = {json.dumps(permissions)}",
    ]
    if texts_per_second:
        lines.append(f"texts_per_second = {texts_per_second:g}")
    if tokens_per_second:
        lines.append(f"tokens_per_second = {tokens_per_second:g}")
    _append(path, "\n".join(lines) + "\n")
    return secret


def _append(path: Path, entry: str) -> None:
    """Add an entry so that a server that reads meanwhile sees the old file or the new one."""
    try:
        old = path.read_text(encoding="utf-8").rstrip() + "\n\n" if path.is_file() else ""
        path.parent.mkdir(parents=True, exist_ok=True)
        with output_file(path, permissions=0o600) as file:
            file.write((old + entry).encode())
    except OSError as error:
        msg = f"cannot write the token file {path}: {error.strerror}"
        raise ConfigurationError(msg) from error
