"""What a client says when TLS, tokens or addresses do not fit: each message names the option to change."""

import http.server
import threading

import grpc
import pytest

from munjang.client import Client, ConfigurationError, RetryPolicy, ServerUnreachable
from tests.authority import Authority


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
def files(authority, tmp_path):
    return authority.write(tmp_path, "me")


def tls(authority, *, mutual=False):
    key = [authority.issue("server")]
    return grpc.ssl_server_credentials(key, authority.pem if mutual else None, mutual)


def failure(target, **options):
    with (
        Client(target, retry=RetryPolicy(attempts=1), **options) as client,
        pytest.raises(ServerUnreachable) as caught,
    ):
        client.encode("글")
    return caught.value.field, str(caught.value)


def test_tls_against_a_plain_server(server, files):
    field, said = failure(server.target, ca=files[2])
    assert field == "tls"
    assert "it speaks no TLS; leave out tls, ca, cert and key" in said


def test_plain_against_a_server_with_tls(running, authority):
    with running(tls(authority)) as server:
        field, said = failure(server.target)
    assert field == "tls"
    assert "does it speak TLS (set tls or ca)" in said


def test_no_certificate_for_a_server_that_asks_for_one(running, authority, files):
    with running(tls(authority, mutual=True)) as server:
        _, said = failure(server.target, ca=files[2])
    assert "ask for a certificate (cert and key)" in said


def test_a_certificate_of_an_authority_that_is_not_trusted(running, authority):
    with running(tls(authority)) as server:
        field, said = failure(server.target, tls=True)
    assert field == "ca"
    assert "self-signed or private: name it or its authority by ca" in said


def test_a_certificate_for_another_name(running, authority, files):
    with running(tls(authority)) as server:
        field, said = failure(server.target, ca=files[2], server_name="other.test")
    assert field == "server_name"
    assert "set server_name" in said


def test_a_file_that_is_no_certificate(running, authority, tmp_path):
    (tmp_path / "wrong.pem").write_text("not PEM")
    with running(tls(authority)) as server:
        field, said = failure(server.target, ca=tmp_path / "wrong.pem")
    assert field == "ca"
    assert "PEM" in said


def test_a_port_of_http():
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        field, said = failure(f"127.0.0.1:{web.server_port}")
        web.shutdown()
    assert field == "targets"
    assert "is not gRPC" in said


@pytest.mark.parametrize(
    ("targets", "cure"),
    [
        ("http://10.0.0.1:8080", "such as 10.0.0.1:50051"),
        ("https://munjang.example/v1", "such as munjang.example:50051, and set tls"),
        ("127.0.0.1:1,http://10.0.0.1:8080", "'http://10.0.0.1:8080' is a web address"),
    ],
)
def test_a_web_address(targets, cure):
    with pytest.raises(ConfigurationError, match="write HOST:PORT") as caught:
        Client(targets)
    assert caught.value.field == "targets"
    assert cure in str(caught.value)


def test_a_server_that_is_not_there_is_no_wrong_option():
    field, said = failure("127.0.0.1:1")
    assert not field
    assert "refused" in said
