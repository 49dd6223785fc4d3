"""TLS, tokens, traces and several servers, with real connections."""

import datetime as dt
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from munjang import errors
from munjang.client import Client


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "munjang test authority")])
        self.ca = folder / "ca.pem"
        self.certificate = self.sign(self.name, self.key.public_key(), ca=True)
        self.ca.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, subject, public_key, *, ca=False):
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("munjang.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, who):
        """The paths of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        cert_path, key_path = self.folder / f"{who}.pem", self.folder / f"{who}.key"
        cert_path.write_bytes(self.sign(subject, key.public_key()).public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
        return cert_path, key_path


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def tls(authority):
    """Server credentials that ask for a client certificate where `mutual`."""

    def make(*, mutual=False):
        cert, key = authority.issue("server")
        root = authority.ca.read_bytes() if mutual else None
        return grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())], root, mutual)

    return make


def test_tls_with_a_private_authority_carries_the_token(connect, running, tls, authority):
    with running(tls()) as server:
        client = connect(server.target, ca=authority.ca, token="비밀아님-x".encode().hex())
        assert len(client.encode("안전하게")) == 1
        client.wait_ready(10)
        assert next(client.encode_stream(["흐름도"])).result().version == 7
        sent = {metadata["authorization"] for metadata in server.embedding.metadata}
        assert sent == {f"Bearer {'비밀아님-x'.encode().hex()}"}


def test_an_unknown_authority_is_not_trusted(connect, running, tls, caught):
    with running(tls()) as server:
        error = caught(connect(server.target, tls=True).encode, "누구세요")
        assert isinstance(error, errors.ServerUnreachable)


def test_mutual_tls_needs_the_clients_certificate(connect, running, tls, authority, caught):
    with running(tls(mutual=True)) as server:
        cert, key = authority.issue("client")
        assert len(connect(server.target, ca=authority.ca, cert=cert, key=key).encode("서로 확인")) == 1
        assert isinstance(caught(connect(server.target, ca=authority.ca).encode, "몰래"), errors.ServerUnreachable)


def test_the_servers_name_may_differ_from_its_address(connect, running, tls, authority):
    with running(tls()) as server:
        target = f"localhost:{server.port}"  # the certificate names 127.0.0.1 and munjang.test only
        assert len(connect(target, ca=authority.ca, server_name="munjang.test").encode("이름")) == 1


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
