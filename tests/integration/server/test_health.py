"""Health: what it says for which service, and when it turns."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICES = ["", "munjang.v1.EmbeddingService", "munjang.v1.ModelService"]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def stub(server):
    return health_pb2_grpc.HealthStub(server.channel)


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_serves_once_a_version_is_ready(run_server, health, service):
    async with run_server(first=0) as server:
        request = health_pb2.HealthCheckRequest(service=service)
        assert (await stub(server).Check(request)).status == NOT_SERVING
        server.models.publish(1)
        server.models.promote(1)
        await health(server)
        assert (await stub(server).Check(request)).status == SERVING


async def test_a_server_without_a_version_or_in_its_drain_is_alive_and_one_with_a_broken_engine_is_not(
    run_server, health
):
    request = health_pb2.HealthCheckRequest(service="liveness")
    async with run_server(first=0, probe_seconds=0.05, stall_seconds=0.5) as server:
        assert (await stub(server).Check(request)).status == SERVING
        server.models.publish(1)
        server.models.promote(1)
        await health(server)
        server.encoder.failing = True
        await health(server, "NOT_SERVING")
        assert (await stub(server).Check(request)).status == NOT_SERVING
        server.encoder.failing = False
        await health(server)
        server.services.health.drain()
        assert (await stub(server).Check(request)).status == SERVING


async def test_an_unknown_service_is_not_found(server):
    request = health_pb2.HealthCheckRequest(service="munjang.v1.Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub(server).Check(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub(server).Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_an_engine_that_fails_every_forward_turns_health_and_comes_back_by_itself(run_server, health):
    async with run_server(probe_seconds=0.05, stall_seconds=0.5) as server:
        server.encoder.failing = True
        await health(server, "NOT_SERVING")
        server.encoder.failing = False
        await health(server, "SERVING")


async def test_a_stuck_forward_turns_health_and_comes_back_by_itself(run_server, health):
    async with run_server(probe_seconds=0.05, stall_seconds=0.5) as server:
        server.encoder.gate.clear()
        await health(server, "NOT_SERVING")
        server.encoder.gate.set()
        await health(server, "SERVING")


async def test_a_draining_server_tells_its_watchers_and_ends_their_watches(server):
    watch = stub(server).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    server.services.health.drain()
    assert (await watch.read()).status == NOT_SERVING
    assert (await stub(server).Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
    server.services.health.end()
    assert await watch.read() is grpc.aio.EOF
