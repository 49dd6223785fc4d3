"""The token file: what it may hold, what it is never asked to hold, and how it is replaced."""

from __future__ import annotations

import hashlib
import os
import threading

import pytest

from munjang.errors import ConfigurationError, PermissionDenied, Unauthenticated
from munjang_server.security.authentication import Permission, TokenAuthenticator, create_token, read_tokens


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.toml"


class Clock:
    """Time as tests want it."""

    now = 0.0

    def __call__(self):
        return self.now


def make(path, name, *, admin=False, texts=0.0, tokens=0.0):
    return create_token(path, name, admin=admin, texts_per_second=texts, tokens_per_second=tokens)


def admit(guard, secret, permission=Permission.CALL):
    return guard.authenticate(f"Bearer {secret}", None, permission)


def test_the_file_holds_hashes_and_no_token(path):
    secret = make(path, "search", texts=500)
    text = path.read_text()
    assert secret not in text
    assert hashlib.sha256(secret.encode()).hexdigest() in text
    token = read_tokens(path).tokens["search"]
    assert token.texts_per_second == 500
    assert token.permissions == {Permission.CALL}
    assert path.stat().st_mode & 0o077 == 0


def test_tokens_are_told_apart_by_name(path):
    secrets = {name: make(path, name) for name in ("search", "batch")}
    guard = TokenAuthenticator(str(path))
    assert {name: admit(guard, secret).name for name, secret in secrets.items()} == {
        "search": "search",
        "batch": "batch",
    }


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic abc", "Bearer mj_unbekannt", "Bearer \udcff", "bearer 한국"]
)
def test_anything_else_is_not_let_in(path, authorization):
    make(path, "search")
    with pytest.raises(Unauthenticated):
        TokenAuthenticator(str(path)).authenticate(authorization, None, Permission.CALL)


def test_the_scheme_is_read_without_regard_to_case(path):
    secret = make(path, "search")
    assert TokenAuthenticator(str(path)).authenticate(f"bEARER {secret}", None, Permission.CALL).name == "search"


def test_admin_methods_need_their_own_permission(path):
    plain, admin = make(path, "search"), make(path, "ops", admin=True)
    guard = TokenAuthenticator(str(path))
    assert admit(guard, admin, Permission.ADMIN).name == "ops"
    with pytest.raises(PermissionDenied, match="'search'"):
        admit(guard, plain, Permission.ADMIN)


def test_a_token_with_the_same_beginning_of_its_hash_is_not_let_in(path):
    secret = make(path, "search")
    digest = hashlib.sha256(secret.encode()).hexdigest()
    path.write_text(path.read_text().replace(digest, digest[:16] + "0" * 48))
    with pytest.raises(Unauthenticated):
        admit(TokenAuthenticator(str(path)), secret)


def test_a_new_file_counts_within_a_second_and_the_old_tokens_no_more(path):
    clock = Clock()
    old = make(path, "old")
    guard = TokenAuthenticator(str(path), clock)
    path.unlink()
    new = make(path, "new")
    assert admit(guard, old).name == "old"
    clock.now += 1.0
    assert admit(guard, new).name == "new"
    with pytest.raises(Unauthenticated):
        admit(guard, old)


@pytest.mark.parametrize("contents", ["[tokens.x", "", None, "[tokens.x]\nsha256 = 'kurz'"])
def test_a_bad_new_file_leaves_the_old_tokens(path, contents):
    clock = Clock()
    secret = make(path, "search")
    guard = TokenAuthenticator(str(path), clock)
    if contents is None:
        path.unlink()
    elif contents:
        path.write_text(contents)
    clock.now += 1.0
    assert admit(guard, secret).name == "search"


def test_a_reload_gives_nobody_a_fresh_rate(path):
    clock = Clock()
    secret = make(path, "slow", texts=1)
    guard = TokenAuthenticator(str(path), clock)
    before = admit(guard, secret)
    make(path, "other")
    clock.now += 1.0
    assert admit(guard, secret) is before


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("[tokens.x]\n", "tokens.x.sha256"),
        ("[tokens.x]\nsha256 = 'abc'", "tokens.x.sha256"),
        (f"[tokens.x]\nsha256 = '{'0' * 64}'\ntext_per_second = 5", "text_per_second"),
        (f"[tokens.x]\nsha256 = '{'0' * 64}'\npermissions = ['root']", "permissions"),
        (f"[tokens.x]\nsha256 = '{'0' * 64}'\n[tokens.y]\nsha256 = '{'0' * 64}'", "two names"),
        ("not toml", "cannot be read"),
        ("[other]\n", "other"),
    ],
)
def test_a_file_that_is_not_right_says_where(path, contents, message):
    path.write_text(contents)
    with pytest.raises(ConfigurationError, match=message):
        read_tokens(path)


def test_a_missing_file_is_an_error_at_the_start(path):
    with pytest.raises(ConfigurationError, match=r"tokens\.toml"):
        TokenAuthenticator(str(path))


@pytest.mark.parametrize("name", ["", "zwei worte", "가나", "a" * 65, "a.b"])
def test_a_name_that_toml_would_take_apart_is_refused(path, name):
    with pytest.raises(ConfigurationError):
        make(path, name)
    assert not path.exists()


def test_a_name_is_given_once(path):
    make(path, "search")
    before = path.read_text()
    with pytest.raises(ConfigurationError, match="already"):
        make(path, "search")
    assert path.read_text() == before


def test_a_linked_token_file_stays_a_link(path, tmp_path):
    real = tmp_path / "secrets" / "tokens.toml"
    real.parent.mkdir()
    make(real, "first")
    path.symlink_to(real)
    make(path, "second")
    assert path.is_symlink()
    assert set(read_tokens(real).tokens) == {"first", "second"}


def test_a_new_token_file_is_for_its_owner_and_an_old_one_keeps_its_permissions(path):
    make(path, "first")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    make(path, "second")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_into_and_stays_a_pipe(path):
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_text(encoding="utf-8")))
    reader.start()
    make(path, "first")
    reader.join(30)
    assert read[0].startswith("[tokens.first]")
    assert path.is_fifo()
