"""TLS, tokens, traces and several servers, with real connections."""

import grpc
import pytest

from munjang import errors
from munjang.client import Client
from tests.authority import Authority


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
def files(authority, tmp_path):
    """A client's key, its certificate, and the authority that it trusts."""
    return authority.write(tmp_path, "client")


@pytest.fixture
def ca(files):
    return files[2]


@pytest.fixture
def tls(authority):
    """Server credentials that ask for a client certificate where `mutual`."""

    def make(*, mutual=False):
        return grpc.ssl_server_credentials([authority.issue("server")], authority.pem if mutual else None, mutual)

    return make


def test_tls_with_a_private_authority_carries_the_token(connect, running, tls, ca):
    with running(tls()) as server:
        client = connect(server.target, ca=ca, token="비밀아님-x".encode().hex())
        assert len(client.encode("안전하게")) == 1
        client.wait_ready(10)
        assert next(client.encode_stream(["흐름도"])).result().version == 7
        sent = {metadata["authorization"] for metadata in server.embedding.metadata}
        assert sent == {f"Bearer {'비밀아님-x'.encode().hex()}"}


def test_an_unknown_authority_is_not_trusted(connect, running, tls, caught):
    with running(tls()) as server:
        error = caught(connect(server.target, tls=True).encode, "누구세요")
        assert isinstance(error, errors.ServerUnreachable)


def test_mutual_tls_needs_the_clients_certificate(connect, running, tls, files, caught):
    with running(tls(mutual=True)) as server:
        key, cert, ca = files
        assert len(connect(server.target, ca=ca, cert=cert, key=key).encode("서로 확인")) == 1
        assert isinstance(caught(connect(server.target, ca=ca).encode, "몰래"), errors.ServerUnreachable)


def test_the_servers_name_may_differ_from_its_address(connect, running, tls, ca):
    with running(tls()) as server:
        target = f"localhost:{server.port}"  # the certificate names 127.0.0.1 and munjang.test only
        assert len(connect(target, ca=ca, server_name="munjang.test").encode("이름")) == 1


def test_a_token_goes_in_plain_text_to_this_machine_only(connect, server):
    connect(server.target, token="abc").encode("이 기계")
    assert server.embedding.metadata[0]["authorization"] == "Bearer abc"
    with pytest.raises(errors.ConfigurationError, match="without TLS"):
        Client("10.0.0.1:50051", token="abc")
    Client("10.0.0.1:50051", token="abc", allow_insecure_token=True).close()


def test_calls_go_round_several_servers(connect, running):
    with running() as one, running() as two:
        client = connect([one.target, two.target])
        client.wait_ready(10)
        for _ in range(40):
            client.encode("돌아가며")
        assert len(one.embedding.requests) + len(two.embedding.requests) == 40
        assert min(len(one.embedding.requests), len(two.embedding.requests)) >= 10


def test_a_server_that_does_not_serve_is_left_out(connect, running):
    with running() as one, running() as two:
        two.set_serving(serving=False)
        client = connect(f"{one.target},{two.target}")
        client.wait_ready(10)
        for _ in range(20):
            client.encode("건강한 곳으로")
        assert len(one.embedding.requests) == 20


def test_no_call_fails_when_one_of_two_servers_stops(connect, running):
    with running() as one:
        with running() as two:
            client = connect([one.target, two.target])
            client.wait_ready(10)
            for _ in range(20):
                client.encode("둘 다")
        for _ in range(20):
            client.encode("하나 남음")
        assert len(one.embedding.requests) >= 20


def test_a_call_within_a_trace_carries_it(client, server):
    trace = pytest.importorskip("opentelemetry.trace")
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the server extra's

    with trace.use_span(TracerProvider().get_tracer("test").start_span("부른 곳")) as span:
        client.encode("추적")
    identity = f"{span.get_span_context().trace_id:032x}"
    assert server.embedding.metadata[0]["traceparent"].split("-")[1] == identity


def test_a_call_outside_a_trace_carries_none(client, server):
    client.encode("추적 없음")
    assert "traceparent" not in server.embedding.metadata[0]
