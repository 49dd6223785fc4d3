"""A Redis that speaks TLS only and asks for a user and a password."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from munjang.bulk import EMBED_FILE
from munjang.client.jobs import JobQueue
from munjang.errors import QueueUnavailable
from tests.authority import Authority
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = "worker"
PASSWORD = "비밀:@/번호"
RULES = (
    f"user {USER} on >{PASSWORD} ~rq:* ~munjang:* &rq:* +@all -@admin -@dangerous +client|list +client|setname +info"
)


@pytest.fixture
def tls_port(redis_binary: Path, tmp_path: Path) -> Iterator[int]:
    """The port of a Redis with TLS, a user of our own, and the default user shut out."""
    key, cert, ca = Authority().write(tmp_path, "redis")
    users = tmp_path / "users.acl"
    users.write_text(f"{RULES}\nuser default off\n", encoding="utf-8")
    port = free_port()
    options = {
        "bind": "127.0.0.1",
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(cert),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(ca),
        "tls-auth-clients": "no",
        "aclfile": str(users),
        "save": "",
        "dir": str(tmp_path),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with subprocess.Popen([redis_binary, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        log = []
        for line in process.stdout:
            log.append(line)
            if "Ready to accept connections" in line:
                yield port
                process.kill()
                return
    told = "".join(log)
    if "Failed finding TLS support" in told:
        pytest.skip(f"{redis_binary.name} was built without TLS")
    pytest.fail(told)


def url(folder: Path, port: int, password: str = PASSWORD) -> str:
    return f"rediss://{USER}:{quote(password, safe='')}@127.0.0.1:{port}/0?ssl_ca_certs={folder / 'ca.pem'}"


def test_a_job_goes_through_a_redis_with_tls_and_a_user_that_may_do_no_more_than_it_needs(
    tls_port: int, make_bench: Any, tmp_path: Path
) -> None:
    bench = make_bench(tmp_path, url(tmp_path, tls_port))
    worker = bench.start()
    job_id = bench.submit(bench.write(3000))
    bench.finish(job_id)
    assert [row["id"] for row in bench.rows()] == list(range(3000))
    assert bench.queue.depth() == (0, 0)
    rq_id = bench.rq(EMBED_FILE, str(bench.write(10, "둘.jsonl")), str(tmp_path / "둘"))
    bench.finish(rq_id)
    assert worker.poll() is None
    for untold in (PASSWORD, quote(PASSWORD, safe=""), "NOPERM", "permission"):
        assert untold not in bench.logs()


def test_a_wrong_password_and_an_unknown_authority_are_told_as_such(tls_port: int, tmp_path: Path) -> None:
    with pytest.raises(QueueUnavailable, match="password"):
        JobQueue(url(tmp_path, tls_port, "틀림")).recent()
    (tmp_path / "ca.pem").write_bytes(Authority("fremd").pem)
    with pytest.raises(QueueUnavailable, match="certificate"):
        JobQueue(url(tmp_path, tls_port)).recent()
