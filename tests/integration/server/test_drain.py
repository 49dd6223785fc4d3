"""Stopping: calls in flight are answered, nothing new is taken, and it ends in time whatever hangs."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from munjang.v1 import embedding_service_pb2 as pb2
from munjang_server.shutdown import drain

REQUEST = pb2.EncodeRequest(texts=["마지막 부름"])


async def in_flight(server):
    server.encoder.gate.clear()
    call = server.embedding.Encode(REQUEST, timeout=30)
    await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
    return call


async def test_a_call_in_flight_is_answered_before_the_server_ends(server):
    call = await in_flight(server)
    stopping = asyncio.create_task(drain(server.services, server.doors, seconds=20, lame_duck=0))
    await server.services.calls.draining.wait()
    assert not stopping.done()
    server.encoder.gate.set()
    assert (await call).version == 1
    assert await stopping is True


async def test_the_lame_duck_says_not_serving_and_still_answers(server):
    stopping = asyncio.create_task(drain(server.services, server.doors, seconds=30, lame_duck=30))
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    async for reply in watch:
        if reply.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            break
    assert (await server.embedding.Encode(REQUEST)).version == 1
    stopping.cancel()


async def test_a_call_that_hangs_is_cut_off_at_the_end_of_the_drain(server):
    call = await in_flight(server)
    assert await drain(server.services, server.doors, seconds=0.2, lame_duck=0) is False
    code = await call.code()
    assert code in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


async def test_open_watches_do_not_hold_up_the_end(server):
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    async with asyncio.timeout(4):
        assert await drain(server.services, server.doors, seconds=60, lame_duck=0) is True


async def test_a_server_that_has_ended_refuses_the_connection(server):
    assert await drain(server.services, server.doors, seconds=20, lame_duck=0) is True
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = channel.unary_unary("/munjang.v1.EmbeddingService/Encode")(b"", timeout=5)
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
