"""Bearer tokens: the file that lists them, and a guard that knows them. The file holds no token, only their SHA-256.

A fast hash is right here: a token is 256 random bits, so nobody can try them out, and a slow hash would only cost every
call. `munjang serve token new` makes tokens; one that a person thought up must not be put here.

    [tokens.search]
    sha256 = "9f86d081…"
    permissions = ["call"]          # "admin" besides, for promoting and rolling back
    texts_per_second = 500          # 0 or absent: no limit
    tokens_per_second = 0           # of model tokens
"""

from __future__ import annotations

import hashlib
import hmac
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from munjang.errors import ConfigurationError, PermissionDenied, Unauthenticated
from munjang_server.call import Caller, Permission
from munjang_server.security.files import stamp
from munjang_server.security.limits import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.security.files import Stamp

NAME = r"^[A-Za-z0-9_-]{1,64}$"
LOOK_SECONDS = 1.0
"""How often the file is looked at."""

log = structlog.get_logger("munjang.server.tokens")


class Token(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    permissions: frozenset[Permission] = frozenset({Permission.CALL})
    texts_per_second: Annotated[float, Field(ge=0)] = 0.0
    tokens_per_second: Annotated[float, Field(ge=0)] = 0.0


class TokenList(BaseModel):
    """The file: tokens by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: dict[Annotated[str, Field(pattern=NAME)], Token] = {}


def read_tokens(path: str | Path) -> TokenList:
    """Read a token file.

    Raises:
        ConfigurationError: it cannot be read, is not valid, or holds one token twice.
    """
    try:
        found = TokenList.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        msg = f"the token file {path} is not valid at {place}: {problem['msg']}"
        raise ConfigurationError(msg, field="tokens_file") from None  # the values would be in the traceback
    except (OSError, ValueError) as error:
        msg = f"the token file {path} cannot be read: {error}"
        raise ConfigurationError(msg, field="tokens_file") from error
    if len({token.sha256 for token in found.tokens.values()}) < len(found.tokens):
        msg = f"the token file {path} holds the same token under two names"
        raise ConfigurationError(msg, field="tokens_file")
    return found


class TokenGuard:
    """Lets in who shows a token of the file. Replacing the file takes effect within a second, a bad one never.

    Raises:
        ConfigurationError: the file is not valid at the start.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = _stamp_or_none(path)
        self._known: dict[str, tuple[str, Token, Caller]] = {}
        self._take(read_tokens(path))
        self._looked = clock()

    def admit(self, authorization: str, context: Any, permission: Permission) -> Caller:  # noqa: ARG002 - of the protocol
        """The caller with this token. See `Guard`."""
        self._look()
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            msg = "this server asks for a bearer token in the metadata `authorization`"
            raise Unauthenticated(msg)
        digest = hashlib.sha256(secret.strip().encode(errors="surrogateescape")).hexdigest()
        name, token, caller = self._known.get(digest[:16], _NOBODY)
        if not hmac.compare_digest(digest, token.sha256):
            msg = "this server does not know the token"
            raise Unauthenticated(msg)
        if permission not in token.permissions:
            msg = f"the token {name!r} does not allow this method: it lacks the permission {permission!r}"
            raise PermissionDenied(msg)
        return caller

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        found = _stamp_or_none(self._path)
        if found == self._stamp:
            return
        self._stamp = found
        try:
            self._take(read_tokens(self._path))
        except ConfigurationError as error:
            log.warning("the new token file cannot be used; the old tokens stay", reason=str(error))
        else:
            log.info("the token file was read again", tokens=len(self._known))

    def _take(self, found: TokenList) -> None:
        """Know these tokens from now on; a token whose entry is as before keeps what it used of its rate."""
        known = {}
        for name, token in found.tokens.items():
            key = token.sha256[:16]
            old = self._known.get(key)
            same = old is not None and old[:2] == (name, token)
            known[key] = old if old is not None and same else (name, token, _caller(name, token))
        self._known = known


def _caller(name: str, token: Token) -> Caller:
    limited = token.texts_per_second or token.tokens_per_second
    return Caller(name, Limiter(token.texts_per_second, token.tokens_per_second) if limited else None)


def _stamp_or_none(path: str) -> Stamp | None:
    try:
        return stamp([path])
    except OSError:
        return None


_NOBODY = ("", Token(sha256="0" * 64, permissions=frozenset()), Caller(""))
