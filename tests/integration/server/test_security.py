"""TLS, mutual TLS, tokens and admin rights, from outside."""

from __future__ import annotations

import os

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from munjang.settings import ServerSettings
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import model_service_pb2
from munjang_server.security.authentication import PeerAuthenticator, TokenAuthenticator, create_token
from munjang_server.security.tls import credentials
from tests.authority import Authority

REQUEST = pb2.EncodeRequest(texts=["비밀 문장"])
ENCODE = "/munjang.v1.EmbeddingService/Encode"
PROMOTE = model_service_pb2.PromoteVersionRequest(version=1)


@pytest.fixture
def pems(tmp_path):
    """A folder with a server's certificate, its key, and the authority that signs clients."""
    authority = Authority()
    key, cert = authority.issue("server")
    files = {"cert": cert, "key": key, "client_ca": authority.pem}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return authority, {f"tls_{name}": str(tmp_path / name) for name in files}


def replace(path, data):
    """Replace a file at once, as a secret manager does."""
    with open(f"{path}.new", "wb") as file:  # noqa: PTH123 - path is a string here
        file.write(data)
    os.replace(f"{path}.new", path)  # noqa: PTH105 - the same


async def common_name(server, authority, **client):
    """Call Encode over TLS; the answer proves that the server's certificate is one of this authority."""
    trusted = grpc.ssl_channel_credentials(authority.pem, **client)
    async with grpc.aio.secure_channel(server.target, trusted) as channel:
        return pb2.EncodeResponse.FromString(await channel.unary_unary(ENCODE)(REQUEST.SerializeToString(), timeout=10))


async def test_over_tls_a_client_that_trusts_the_authority_is_answered(run_server, pems):
    authority, files = pems
    del files["tls_client_ca"]
    async with run_server(**files) as server:
        assert (await common_name(server, authority)).version == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await common_name(server, Authority("fremd"))
        with pytest.raises(grpc.aio.AioRpcError):
            await server.plain().unary_unary(ENCODE)(REQUEST.SerializeToString(), timeout=3)


async def test_a_replaced_certificate_is_used_for_new_connections_without_a_restart(run_server, pems):
    _, files = pems
    del files["tls_client_ca"]
    async with run_server(**files) as server:
        other = Authority("새 기관")
        key, cert = other.issue("server")
        replace(files["tls_cert"], cert)  # half replaced: the old pair stays in use
        assert (await common_name(server, pems[0])).version == 1
        replace(files["tls_key"], key)
        assert (await common_name(server, other)).version == 1


async def test_under_mutual_tls_only_clients_with_a_certificate_are_answered(run_server, pems):
    authority, files = pems
    async with run_server(**files) as server:
        key, cert = authority.issue("검색 팀")
        client = {"private_key": key, "certificate_chain": cert}
        assert (await common_name(server, authority, **client)).version == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await common_name(server, authority)
        key, cert = Authority("fremd").issue("누구")
        with pytest.raises(grpc.aio.AioRpcError):
            await common_name(server, authority, private_key=key, certificate_chain=cert)


@pytest.fixture
def tokens(tmp_path):
    """A token file, and its tokens: a caller's, an admin's, and one of a slow caller."""
    path = tmp_path / "tokens.toml"
    made = {
        name: create_token(path, name, admin=name == "admin", texts_per_second=rate, tokens_per_second=0)
        for name, rate in {"search": 0, "admin": 0, "slow": 0.2}.items()
    }
    return path, made


def bearer(secret):
    return (("authorization", f"Bearer {secret}"),)


async def test_a_call_needs_a_token_that_the_server_knows(run_server, failure, tokens):
    path, made = tokens
    async with run_server(authenticator=TokenAuthenticator(str(path))) as server:
        assert (await server.embedding.Encode(REQUEST, metadata=bearer(made["search"]))).version == 1
        for metadata in (None, bearer("mj_erfunden"), bearer(""), (("authorization", made["search"]),)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await server.embedding.Encode(REQUEST, metadata=metadata)
            seen = failure(caught.value)
            assert (seen.code, seen.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
            assert made["search"] not in seen.message
        assert await health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())


async def test_streams_need_a_token_too(run_server, failure, tokens):
    path, _ = tokens
    async with run_server(authenticator=TokenAuthenticator(str(path))) as server:
        call = server.embedding.EncodeStream(iter([pb2.EncodeStreamRequest(id="1", request=REQUEST)]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert failure(caught.value).reason == "UNAUTHENTICATED"


async def test_a_token_over_its_rate_is_told_when_to_come_back(run_server, failure, tokens):
    path, made = tokens
    async with run_server(authenticator=TokenAuthenticator(str(path))) as server:
        await server.embedding.Encode(pb2.EncodeRequest(texts=["하나", "둘"]), metadata=bearer(made["slow"]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(REQUEST, metadata=bearer(made["slow"]))
        seen = failure(caught.value)
        assert (seen.code, seen.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert 4 < seen.retry_after <= 5
        assert (await server.embedding.Encode(REQUEST, metadata=bearer(made["search"]))).version == 1


async def test_only_an_admin_token_promotes_and_rolls_back(run_server, failure, tokens, fake_aliases):
    path, made = tokens
    async with run_server(authenticator=TokenAuthenticator(str(path)), admin=fake_aliases) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.listing.PromoteVersion(PROMOTE, metadata=bearer(made["search"]))
        seen = failure(caught.value)
        assert (seen.code, seen.reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(REQUEST)
        reply = await server.listing.PromoteVersion(PROMOTE, metadata=bearer(made["admin"]))
        assert (reply.alias.name, reply.alias.version) == ("stable", 1)


async def test_without_tokens_nobody_promotes_unless_the_server_is_for_this_machine_only(
    run_server, failure, fake_aliases
):
    async with run_server(authenticator=PeerAuthenticator(), admin=fake_aliases) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.listing.PromoteVersion(PROMOTE)
        assert failure(caught.value).reason == "PERMISSION_DENIED"
    async with run_server(authenticator=PeerAuthenticator(admin=True), admin=fake_aliases) as server:
        assert (await server.listing.PromoteVersion(PROMOTE)).alias.version == 1


async def test_an_alias_is_promoted_and_rolled_back_by_rpc(run_server, failure, fake_aliases):
    async with run_server(authenticator=PeerAuthenticator(admin=True), admin=fake_aliases) as server:
        server.models.publish(2)
        promoted = await server.listing.PromoteVersion(model_service_pb2.PromoteVersionRequest(version=2))
        assert (promoted.alias.version, promoted.alias.previous) == (2, 1)
        await server.swapped(2)
        back = await server.listing.RollbackAlias(model_service_pb2.RollbackAliasRequest(alias="stable"))
        assert (back.alias.version, back.alias.previous) == (1, 2)
        await server.swapped(1)
        for request, method, field in (
            (model_service_pb2.PromoteVersionRequest(version=9), "PromoteVersion", "version"),
            (model_service_pb2.RollbackAliasRequest(alias="nichts"), "RollbackAlias", "alias"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await getattr(server.listing, method)(request)
            seen = failure(caught.value)
            assert (seen.reason, seen.field) == ("VERSION_NOT_FOUND", field)
            assert "memory" not in seen.message


def test_settings_without_certificates_mean_plaintext():
    assert credentials(ServerSettings()) is None
