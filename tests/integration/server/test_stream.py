"""EncodeStream: replies by id, errors of their own message only, a bounded window, an end on both sides."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2 as pb2
from munjang_server.shutdown import drain


def batch(name, *texts, **options):
    return pb2.EncodeStreamRequest(id=name, request=pb2.EncodeRequest(texts=texts, options=options))


async def replies(call):
    return {reply.id: reply async for reply in call}


async def test_every_batch_is_answered_under_its_id_with_what_encode_answers(server):
    sent = {f"묶음-{number}": [f"{number}번 문장", "같은 문장"] for number in range(50)}
    got = await replies(server.embedding.EncodeStream(batch(name, *texts) for name, texts in sent.items()))
    assert got.keys() == sent.keys()
    for name, texts in sent.items():
        alone = await server.embedding.Encode(pb2.EncodeRequest(texts=texts))
        assert got[name].response == alone


async def test_an_error_belongs_to_its_batch_and_does_not_end_the_stream(server, failure):
    sent = [
        batch("good", "좋은 문장"),
        batch("empty"),
        batch("blank", "좋은 문장", " "),
        batch("poison", "독이 든 문장"),
        batch("version", "좋은 문장", version="없음"),
        batch("after", "또 좋은 문장"),
    ]
    got = await replies(server.embedding.EncodeStream(iter(sent)))
    seen = {name: failure(reply.error) for name, reply in got.items() if reply.HasField("error")}
    assert {name: (each.code, each.reason, each.field) for name, each in seen.items()} == {
        "empty": ("INVALID_ARGUMENT", "NO_TEXTS", "texts"),
        "blank": ("INVALID_ARGUMENT", "EMPTY_TEXT", "texts[1]"),
        "poison": ("INTERNAL", "ENCODE_FAILED", "texts[0]"),
        "version": ("NOT_FOUND", "VERSION_NOT_FOUND", "options.version"),
    }
    assert got["good"].response.vectors.count == got["after"].response.vectors.count == 1


async def test_a_message_that_does_not_parse_fails_alone(run_server, failure):
    async with run_server(max_message_bytes=500) as server:
        good = batch("좋다", "좋은 문장").SerializeToString()
        unreadable = batch("깨졌다", "가", "나쁜").SerializeToString().replace("나쁜".encode(), b"\xb3\xaa\xbb\xdbxx")
        call = server.channel.stream_stream("/munjang.v1.EmbeddingService/EncodeStream")
        raw = [b"\xff\xff", unreadable, b"\x0a" * 600, batch("무엇").SerializeToString(), good]
        answers = [pb2.EncodeStreamResponse.FromString(each) async for each in call(iter(raw))]
    by_reason = {failure(each.error).reason: each for each in answers if each.HasField("error")}
    assert by_reason.keys() == {"MALFORMED_MESSAGE", "INVALID_TEXT", "MESSAGE_TOO_LARGE", "NO_TEXTS"}
    assert by_reason["INVALID_TEXT"].id == "깨졌다"
    assert failure(by_reason["INVALID_TEXT"].error).field == "texts[1]"
    assert [each.id for each in answers if each.HasField("response")] == ["좋다"]


async def test_a_client_that_does_not_read_is_not_read_from(run_server):
    """Neither texts nor replies pile up: what the server takes is bounded by the window and by flow control."""
    batches, texts = 300, 20  # each reply has 320 KiB
    async with run_server(stream_window=3, encoder=FakeEncoder(ModelInfo(4096, 128))) as server:
        call = server.embedding.EncodeStream(batch(str(number), *["긴 문장"] * texts) for number in range(batches))
        labels = {"rpc": "EncodeStream", "version": "1", "lane": "bulk"}
        answered = await server.settled(lambda: server.metric("munjang_server_texts_total", **labels))
        assert answered < batches * texts / 3
        read = [await call.read() for _ in range(50)]
        assert len({reply.id for reply in read}) == 50
        call.cancel()
        ended = {"rpc": "EncodeStream", "code": "CANCELLED"}
        await server.until(lambda: server.metric("munjang_server_requests_total", door="grpc", **ended) == 1)
        assert server.metric("munjang_server_errors_total", door="grpc", rpc="EncodeStream", reason="INTERNAL") == 0


async def test_a_client_that_goes_away_leaves_no_work_behind(run_server):
    async with run_server() as server:
        server.encoder.gate.clear()
        call = server.embedding.EncodeStream(batch(str(number), "문장") for number in range(100))
        await server.until(lambda: server.scheduler.load.queued_texts["bulk"] > 0)
        call.cancel()
        await server.until(lambda: server.scheduler.load.queued_texts["bulk"] == 0)
        server.encoder.gate.set()
        assert await server.embedding.Encode(pb2.EncodeRequest(texts=["아직 산다"]))
        await server.until(
            lambda: (
                server.metric("munjang_server_requests_total", door="grpc", rpc="EncodeStream", code="CANCELLED") == 1
            )
        )


async def test_a_draining_server_answers_what_it_read_and_ends_the_stream(run_server, failure):
    async with run_server() as server:
        call = server.embedding.EncodeStream()
        await call.write(batch("하나", "문장"))
        assert (await call.read()).id == "하나"
        server.encoder.gate.clear()
        await call.write(batch("둘", "문장 둘"))
        await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
        stopping = asyncio.create_task(drain(server.services, server.doors, seconds=20, lame_duck=0))
        await asyncio.wait_for(server.services.calls.draining.wait(), 10)
        server.encoder.gate.set()
        assert (await call.read()).id == "둘"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert await stopping
    seen = failure(caught.value)
    assert (seen.code, seen.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")


async def test_a_stream_pins_no_version_between_its_batches(server):
    call = server.embedding.EncodeStream()
    await call.write(batch("옛", "문장"))
    assert (await call.read()).response.version == 1
    server.models.publish(2)
    server.models.promote(2)
    await server.swapped(2)
    await call.write(batch("새", "문장"))
    assert (await call.read()).response.version == 2
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
