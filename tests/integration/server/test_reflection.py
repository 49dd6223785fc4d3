"""A stock client with no file of ours: it asks the server for the protos, and calls."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

SERVICE = "munjang.v1.EmbeddingService"


async def ask(channel, **question):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(**question))
    answer = await call.read()
    await call.done_writing()
    return answer


async def learn(channel, pool, known, **question):
    """Add the files that the server names to a pool, each after those that it imports."""
    for raw in (await ask(channel, **question)).file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(raw)
        if file.name in known:
            continue
        known.add(file.name)
        for dependency in file.dependency:
            await learn(channel, pool, known, file_by_filename=dependency)
        pool.Add(file)


async def test_a_client_that_knows_nothing_lists_the_services_and_encodes(server):
    async with grpc.aio.insecure_channel(server.target) as channel:
        listed = (await ask(channel, list_services="")).list_services_response.service
        assert {each.name for each in listed} >= {SERVICE, "munjang.v1.ModelService", "grpc.health.v1.Health"}
        pool = descriptor_pool.DescriptorPool()
        await learn(channel, pool, set(), file_containing_symbol=SERVICE)
        method = pool.FindServiceByName(SERVICE).FindMethodByName("Encode")
        request = message_factory.GetMessageClass(method.input_type)(texts=["스스로 배운 클라이언트"])
        reply_class = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_unary(
            f"/{SERVICE}/Encode",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply_class.FromString,
        )
        reply = await call(request)
    assert reply.version == 1
    assert len(reply.vectors.data) == 8 * 4


async def test_reflection_can_be_turned_off(run_server):
    async with run_server(reflection=False) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(server.channel, list_services="")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
