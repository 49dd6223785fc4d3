"""Connections: their limits, what hostile ones can do, hang-ups, drains, TLS and web pages of other origins."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl

import grpc
import httpx
import pytest

from munjang.v1 import embedding_service_pb2
from munjang_server.security.authentication import PeerAuthenticator
from munjang_server.shutdown import drain
from tests.authority import Authority

EMBEDDINGS = "/v1/embeddings"
ONE = {"input": "가"}
JSON = {"content-type": "application/json"}
REQUEST = embedding_service_pb2.EncodeRequest(texts=["가"])
OPTIONS = [("grpc.ssl_target_name_override", "munjang.test")]


async def spoken(server, data):
    """Send bytes on a connection of its own: what comes until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    writer.write(data)
    async with asyncio.timeout(20):
        try:
            said = await reader.read()
        except ConnectionError:  # closed with some of it unread
            said = b""
    writer.close()
    return said


def head(length):
    return (
        f"POST {EMBEDDINGS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


async def test_a_body_that_is_too_large_is_refused_unread(both_doors):
    async with both_doors(max_message_bytes=1000, http_read_seconds=0.2) as (server, http):
        said = await spoken(server, head(1001))
        assert said.startswith(b"HTTP/1.1 413 ")

        async def chunks():
            for _ in range(100):
                yield b"x" * 100

        reply = await http.post(EMBEDDINGS, content=chunks(), headers=JSON)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "message_too_large")


async def test_compressed_bodies_and_other_types_are_refused(doors):
    _, http = doors
    bomb = gzip.compress(b"[" * 10_000_000)
    reply = await http.post(EMBEDDINGS, content=bomb, headers=JSON | {"content-encoding": "gzip"})
    assert reply.status_code == 415
    reply = await http.post(EMBEDDINGS, content=b'{"input": "a"}', headers={"content-type": "text/plain"})
    assert reply.status_code == 415


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"input": ' + b"[" * 200_000,
        b'{"input": "a", "dimensions": ' + b"9" * 5000 + b"}",
        b'{"input": "a", "dimensions": 1e999}',
        b'{"input": "\\ud800"}',
        b'{"input": "\xff"}',
        b'{"input": "a", "input": ["b"], "\xea\xb0\x80": 1}',
        b"",
        b"null",
    ],
)
@pytest.mark.parametrize("path", [EMBEDDINGS, "/embed", "/v1/rerank", "/munjang.v1.EmbeddingService/Encode"])
async def test_hostile_json_is_refused_in_words(doors, path, content):
    server, http = doors
    reply = await http.post(path, content=content, headers=JSON)
    assert 400 <= reply.status_code < 500, reply.text
    assert server.metric("munjang_server_errors_total", rpc="Encode", door="http", reason="INTERNAL") == 0


@pytest.mark.parametrize(
    ("part", "status"),
    [(b"POST /v1/emb", b"408"), (head(100) + b"{", b"408"), (b"", b"")],
    ids=["half a head", "half a body", "nothing"],
)
async def test_what_comes_too_slowly_is_given_up(both_doors, part, status):
    async with both_doors(http_read_seconds=0.2) as (server, _):
        said = await spoken(server, part)
        assert said[9:12] == status


async def test_a_head_without_end_is_refused(doors):
    server, _ = doors
    said = await spoken(server, b"GET / HTTP/1.1\r\nx-filler: " + b"x" * 600_000)
    assert said[9:12] in {b"431", b""}


async def test_past_the_most_connections_the_oldest_idle_one_goes(both_doors):
    async with both_doors(http_connections=3) as (server, http):
        assert (await http.post(EMBEDDINGS, json=ONE)).status_code == 200
        open_ones = [await asyncio.open_connection("127.0.0.1", server.http_port) for _ in range(20)]
        async with httpx.AsyncClient(base_url=http.base_url, timeout=30) as fresh:
            for _ in range(5):
                assert (await fresh.post(EMBEDDINGS, json=ONE)).status_code == 200
        for reader, _ in open_ones[:17]:
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read(1) == b""
        for _, writer in open_ones:
            writer.close()


async def test_connections_stay_open_between_requests_and_pipelined_ones_are_answered_in_order(doors):
    server, _ = doors
    body = b'{"input": "\xea\xb0\x80"}'
    last = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    said = await spoken(server, (head(len(body)) + body) * 3 + last)
    assert said.count(b"HTTP/1.1 200 ") == 4
    assert said.endswith(b"ok")


async def test_an_offer_of_http_2_is_ignored_and_the_body_is_read(doors):
    server, _ = doors
    body = b'{"input": "\xea\xb0\x80"}'
    offer = b"connection: upgrade, http2-settings, close\r\nUpgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n\r\n"
    said = await spoken(server, head(len(body))[:-2] + offer + body)
    assert said.startswith(b"HTTP/1.1 200 ")


async def test_a_head_may_come_in_any_parts(doors):
    server, _ = doors
    body = b'{"input": "\xea\xb0\x80"}'
    whole = (head(len(body)) + body) * 2 + b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    for size in (1, 7, 50, len(head(len(body)) + body) + 100):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        for start in range(0, len(whole), size):
            writer.write(whole[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            said = await reader.read()
        writer.close()
        assert said.count(b"HTTP/1.1 200 ") == 3


async def test_a_client_that_hangs_up_takes_its_work_with_it(doors):
    server, http = doors
    server.encoder.gate.clear()
    call = asyncio.create_task(http.post(EMBEDDINGS, json=ONE))
    await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
    waiting = asyncio.create_task(http.post(EMBEDDINGS, json={"input": ["나", "다"]}))
    await server.until(lambda: server.metric("munjang_server_queued_texts", lane="interactive") == 2)
    waiting.cancel()
    await server.until(lambda: server.metric("munjang_server_queued_texts", lane="interactive") == 0)
    cancelled = {"rpc": "Encode", "door": "http", "code": "CANCELLED"}
    await server.until(lambda: server.metric("munjang_server_requests_total", **cancelled) == 1)
    server.encoder.gate.set()
    assert (await call).status_code == 200
    assert server.metric("munjang_server_requests_in_flight", rpc="Encode", door="http") == 0


async def test_a_call_in_flight_is_answered_before_the_server_ends(doors):
    server, http = doors
    server.encoder.gate.clear()
    call = asyncio.create_task(http.post(EMBEDDINGS, json=ONE))
    await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
    stopping = asyncio.create_task(drain(server.services, server.doors, seconds=20, lame_duck=0))
    await server.services.calls.draining.wait()
    server.encoder.gate.set()
    assert (await call).status_code == 200
    assert await stopping is True
    with pytest.raises(httpx.ConnectError):
        await http.post(EMBEDDINGS, json=ONE)


async def test_a_call_that_hangs_is_cut_off_at_the_end_of_the_drain(doors):
    server, http = doors
    server.encoder.gate.clear()
    call = asyncio.create_task(http.post(EMBEDDINGS, json=ONE))
    await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
    assert await drain(server.services, server.doors, seconds=0.2, lame_duck=0) is False
    with pytest.raises(httpx.TransportError):
        await call


async def test_probes_and_metrics_are_served_beside_the_calls(doors):
    server, http = doors
    assert [(await http.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
    page = await http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert "munjang_server_requests_total" in page.text
    server.services.health.drain()
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.text) == (503, "draining")
    assert (await http.get("/livez")).status_code == 200
    assert (await http.get("/health")).json()["error_type"] == "unhealthy"


async def test_web_pages_of_other_origins_may_call_only_if_they_are_named(both_doors):
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "authorization,content-type"
    async with both_doors() as (_, http):
        assert "access-control-allow-origin" not in (await http.options(EMBEDDINGS, headers=asked)).headers
    async with both_doors(http_origins="https://app.example") as (_, http):
        allowed = await http.options(EMBEDDINGS, headers=asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example")
        reply = await http.post(EMBEDDINGS, json=ONE, headers={"origin": "https://app.example"})
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-munjang-version" in reply.headers["access-control-expose-headers"]
        other = await http.options(EMBEDDINGS, headers=asked | {"origin": "https://other.example"})
        assert other.status_code == 400


@pytest.mark.parametrize("header", ["host", "origin"])
async def test_without_tokens_no_other_site_can_have_a_browser_move_aliases(both_doors, fake_aliases, header):
    path, named = "/munjang.v1.ModelService/PromoteVersion", {"version": 1}
    async with both_doors(authenticator=PeerAuthenticator(admin=True), admin=fake_aliases) as (_, http):
        assert (await http.post(path, json=named)).status_code == 200
        refused = await http.post(path, json=named, headers={header: "http://evil.example"[7 * (header == "host") :]})
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


@pytest.fixture
def pems(tmp_path):
    """An authority, and the settings of a server with a certificate of it."""
    authority = Authority()
    key, cert = authority.issue("server")
    files = {"cert": cert, "key": key, "client_ca": authority.pem}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return authority, {f"tls_{name}": str(tmp_path / name) for name in files}


def trusting(authority, tmp_path, client=None):
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.check_hostname = False
    if client:
        for name, data in zip(("client.key", "client.pem"), authority.issue(client), strict=True):
            (tmp_path / name).write_bytes(data)
        context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    return context


async def over_tls(server, context):
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{server.http_port}", verify=context) as http:
        return (await http.post(EMBEDDINGS, json=ONE)).status_code


async def test_the_certificates_of_grpc_are_those_of_http_and_reload(both_doors, pems, tmp_path):
    authority, files = pems
    del files["tls_client_ca"]
    async with both_doors(**files) as (server, _):
        assert await over_tls(server, trusting(authority, tmp_path)) == 200
        other = Authority("둘째")
        with pytest.raises(httpx.ConnectError):
            await over_tls(server, trusting(other, tmp_path))
        for name, data in zip(("key", "cert"), other.issue("server"), strict=True):
            (tmp_path / "new").write_bytes(data)
            (tmp_path / "new").replace(files[f"tls_{name}"])
        assert await over_tls(server, trusting(other, tmp_path)) == 200


async def test_with_a_client_authority_only_its_clients_are_let_in_and_known_by_name(both_doors, pems, tmp_path):
    authority, files = pems
    names = []

    class Noting(PeerAuthenticator):
        def authenticate(self, authorization, peer, permission):
            names.append(peer())
            return super().authenticate(authorization, peer, permission)

    async with both_doors(authenticator=Noting(), **files) as (server, _):
        assert await over_tls(server, trusting(authority, tmp_path, "client")) == 200
        key, cert = authority.issue("client")
        channel = grpc.ssl_channel_credentials(authority.pem, key, cert)
        async with grpc.aio.secure_channel(server.target, channel, OPTIONS) as secure:
            await secure.unary_unary("/munjang.v1.EmbeddingService/Encode")(REQUEST.SerializeToString(), timeout=10)
        assert names[0] == names[1]
        assert "127.0.0.1" not in names[0]
        with pytest.raises(httpx.TransportError):
            await over_tls(server, trusting(authority, tmp_path))
