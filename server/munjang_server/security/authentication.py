"""Authentication and rate limits: who calls, what they may do, and how much work they may send.

The token file holds no tokens, only their SHA-256. A fast hash is enough: a token is 256 random bits, so nobody can
guess it, and a slow hash would only delay every call. `munjang serve token new` creates tokens; never add one that a
person invented.

    [tokens.search]
    sha256 = "9f86d081…"
    permissions = ["call"]          # add "admin" to allow promoting, rolling back and submitting jobs
    texts_per_second = 500          # 0 or absent: no limit
    tokens_per_second = 0           # of model tokens
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import time
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from munjang.errors import ConfigurationError, PermissionDenied, RateLimited, Unauthenticated
from munjang.output_file import output_file
from munjang_server.security import file_stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.security import FileStamp

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
PREFIX = "mj_"
"""Lets secret scanners and people recognise a token."""

CHECK_SECONDS = 1.0
"""How often the token file is checked for changes."""

BURST_SECONDS = 10.0
"""A bucket holds this many seconds of its rate."""

log = structlog.get_logger("munjang.server.tokens")


class Permission(StrEnum):
    """What a token allows."""

    CALL = "call"
    ADMIN = "admin"


@dataclass(slots=True)
class TokenBucket:
    """An amount of work that may be done now, refilled at `rate` a second; it starts full.

    A request larger than the bucket is admitted when the bucket is full, and leaves a debt: a large batch is never
    impossible, but the caller has to wait afterwards.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    level: float = field(init=False)
    seen: float = field(init=False)

    def __post_init__(self) -> None:
        """Start full."""
        self.level = self.rate * BURST_SECONDS
        self.seen = self.clock()

    def wait(self, amount: float) -> float:
        """The seconds until an amount may be taken; 0 if it may be taken now."""
        now = self.clock()
        full = self.rate * BURST_SECONDS
        self.level = min(full, self.level + (now - self.seen) * self.rate)
        self.seen = now
        return max(0.0, min(amount, full) - self.level) / self.rate


class RateLimiter:
    """The rate limits of one token; 0 leaves a kind of work unlimited."""

    def __init__(
        self, texts_per_second: float, tokens_per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._texts = TokenBucket(texts_per_second, clock) if texts_per_second else None
        self._tokens = TokenBucket(tokens_per_second, clock) if tokens_per_second else None

    def check(self, *, texts: int = 0, tokens: int = 0) -> None:
        """Refuse work that is over the limit now. Charges nothing.

        Raises:
            RateLimited: a limit is used up; `retry_after` says until when.
        """
        for bucket, amount, kind in ((self._texts, texts, "texts"), (self._tokens, tokens, "tokens")):
            wait = bucket.wait(amount) if bucket is not None and amount else 0.0
            if bucket is not None and wait:
                msg = f"this token may bring {bucket.rate:g} {kind} a second, and that is used up"
                raise RateLimited(msg, retry_after=wait)

    def charge(self, *, texts: int = 0, tokens: int = 0) -> None:
        """Charge all of the work, or none of it if it is over a limit.

        Raises:
            RateLimited: a limit is used up; `retry_after` says until when.
        """
        self.check(texts=texts, tokens=tokens)
        self.refund(texts=-texts, tokens=-tokens)

    def refund(self, *, texts: int = 0, tokens: int = 0) -> None:
        """Give back the charge of work that was not admitted."""
        if self._texts is not None:
            self._texts.level += texts
        if self._tokens is not None:
            self._tokens.level += tokens


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key of fair queueing, and the rate limits of their token if it has any."""

    name: str
    limiter: RateLimiter | None = None


ANONYMOUS = Caller("")


class Authenticator(Protocol):
    """Identifies callers."""

    def authenticate(self, authorization: str, peer: Callable[[], str], permission: Permission) -> Caller:
        """The caller of a call; `peer` names the other end of the connection, by its certificate or its address.

        Raises:
            Unauthenticated: nobody that this server knows.
            PermissionDenied: known, but not allowed to call this method.
        """


class PeerAuthenticator:
    """Admits every caller, and identifies callers by certificate or address.

    Args:
        admin: whether everybody may also promote, roll back, and submit and cancel jobs.
    """

    def __init__(self, *, admin: bool = False) -> None:
        self._admin = admin

    def authenticate(self, authorization: str, peer: Callable[[], str], permission: Permission) -> Caller:  # noqa: ARG002 - of the protocol
        """The peer. See `Authenticator`."""
        if permission is Permission.ADMIN and not self._admin:
            msg = "this server has no tokens, so it lets nobody move aliases or run jobs from another machine"
            raise PermissionDenied(msg)
        return Caller(peer())


def peer_name(context: Any) -> str:
    """The peer of a gRPC call: the name in its certificate if there is one, else its address without the port."""
    identities = context.peer_identities()
    if identities:
        name: str = next(iter(identities)).decode(errors="replace")
        return name
    peer: str = context.peer()
    return peer.rpartition(":")[0] or peer


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Token(BaseModel):
    """One entry of the token file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    permissions: frozenset[Permission] = frozenset({Permission.CALL})
    texts_per_second: Annotated[float, Field(ge=0)] = 0.0
    tokens_per_second: Annotated[float, Field(ge=0)] = 0.0


class TokenList(BaseModel):
    """The token file: tokens by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: dict[Annotated[str, Field(pattern=NAME_PATTERN)], Token] = {}


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


class TokenAuthenticator:
    """Admits callers with a token of the file. A replaced file takes effect within a second; an invalid one is ignored.

    Raises:
        ConfigurationError: the file is not valid at the start.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = _stamp_or_none(path)
        self._known: dict[str, tuple[str, Token, Caller]] = {}
        self._use(read_tokens(path))
        self._checked = clock()

    def authenticate(self, authorization: str, peer: Callable[[], str], permission: Permission) -> Caller:  # noqa: ARG002 - of the protocol
        """The caller with this token. See `Authenticator`."""
        self._reload_if_changed()
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            msg = "this server asks for a bearer token in `authorization`"
            raise Unauthenticated(msg)
        digest = hashlib.sha256(secret.strip().encode(errors="surrogateescape")).hexdigest()
        name, token, caller = self._known.get(digest[:16], _UNKNOWN)
        if not hmac.compare_digest(digest, token.sha256):
            msg = "this server does not know the token"
            raise Unauthenticated(msg)
        if permission not in token.permissions:
            msg = f"the token {name!r} does not allow this method: it lacks the permission {permission!r}"
            raise PermissionDenied(msg)
        return caller

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        stamp = _stamp_or_none(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._use(read_tokens(self._path))
        except ConfigurationError as error:
            log.warning("the new token file cannot be used; the old tokens stay", reason=str(error))
        else:
            log.info("token file reloaded", tokens=len(self._known))

    def _use(self, found: TokenList) -> None:
        """Use these tokens from now on; a token whose entry is unchanged keeps the state of its rate limits."""
        known = {}
        for name, token in found.tokens.items():
            key = token.sha256[:16]
            old = self._known.get(key)
            same = old is not None and old[:2] == (name, token)
            known[key] = old if old is not None and same else (name, token, _caller(name, token))
        self._known = known


def _caller(name: str, token: Token) -> Caller:
    limited = token.texts_per_second or token.tokens_per_second
    return Caller(name, RateLimiter(token.texts_per_second, token.tokens_per_second) if limited else None)


def _stamp_or_none(path: str) -> FileStamp | None:
    try:
        return file_stamp([path])
    except OSError:
        return None


_UNKNOWN = ("", Token(sha256="0" * 64, permissions=frozenset()), ANONYMOUS)


def create_token(path: Path, name: str, *, admin: bool, texts_per_second: float, tokens_per_second: float) -> str:
    """Create a token, add its hash to the file, which need not exist yet, and return it. It cannot be read again.

    Raises:
        ConfigurationError: the name is not valid, or taken; the file is not valid or cannot be written.
    """
    if not re.fullmatch(NAME_PATTERN, name):
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
