"""A proxy of the environment sees no call to this machine, and no token in the clear."""

from __future__ import annotations

import grpc
import pytest

from munjang.cli.main import main
from munjang.client import Client
from munjang.client.connection import ConnectionOptions, address, channel_options
from munjang.client.job_client import JobClient
from munjang.errors import MunjangError
from tests.authority import Authority
from tests.proxies import proxy_in_environment

TOKEN = "mj_secret-of-a-test"


@pytest.fixture
def proxy(monkeypatch):
    with proxy_in_environment(monkeypatch) as proxy:
        yield proxy


def is_direct(target, **options):
    arguments = dict(channel_options(address(target), ConnectionOptions(**options)))
    return arguments.get("grpc.enable_http_proxy") == 0


@pytest.mark.parametrize("target", ["127.0.0.1:{}", "localhost:{}", "ipv4:127.0.0.1:{}", "dns:///localhost:{}"])
def test_a_call_to_this_machine_goes_past_the_proxy(connect, server, proxy, target):
    client = connect(target.format(server.port), token=TOKEN)
    client.wait_ready(10)
    assert client.encode("직접").version == 7
    assert [batch.result().version for batch in client.encode_stream(["흐름"])] == [7]
    assert server.embedding.metadata[0]["authorization"] == f"Bearer {TOKEN}"
    assert not proxy.asked


def test_tls_to_this_machine_goes_past_the_proxy(connect, running, proxy, tmp_path):
    authority = Authority()
    ca = authority.write(tmp_path, "client")[2]
    with running(grpc.ssl_server_credentials([authority.issue("server")])) as server:
        assert connect(server.target, ca=ca, token=TOKEN).encode("비밀").version == 7
    assert not proxy.asked


def test_commands_go_past_the_proxy(server, proxy):
    assert main(["health", "--target", server.target, "--token", TOKEN]) == 0
    assert main(["encode", "글", "--json", "--target", server.target, "--token", TOKEN]) == 0
    assert not proxy.asked


def test_a_job_client_goes_past_the_proxy(server, proxy):
    with JobClient(server.target, token=TOKEN, timeout=5) as jobs, pytest.raises(MunjangError):
        jobs.get("job-x")  # the server of these tests has no jobs; what counts is the way there
    assert not proxy.asked


def test_a_call_to_another_machine_takes_the_proxy(proxy):
    """Else the tests above would show nothing."""
    with Client("embed.invalid:50051", timeout=5) as client, pytest.raises(MunjangError):
        client.encode("밖으로")
    assert proxy.asked[0] == "CONNECT embed.invalid:50051 HTTP/1.1"


def test_a_plain_token_for_another_machine_is_not_shown_to_the_proxy(proxy):
    assert is_direct("embed.example:50051", token=TOKEN, allow_insecure_token=True)
    assert not is_direct("embed.example:50051", token=TOKEN, tls=True)
    options = {"token": TOKEN, "allow_insecure_token": True, "timeout": 2}
    with Client("embed.invalid:50051", **options) as client, pytest.raises(MunjangError):
        client.encode("밖으로")
    assert not proxy.asked


def test_a_list_of_addresses_is_dialled_directly(connect, running, proxy):
    with running() as one, running() as two:
        client = connect([one.target, two.target])
        client.wait_ready(10)
        client.encode("돌아가며")
    assert not proxy.asked
    assert is_direct("10.0.0.1:1,10.0.0.2:1")
    assert not is_direct("ipv4:10.0.0.1:1")
