"""EncodeStream through both clients: order, bounds, errors of one batch, broken connections."""

import asyncio
import itertools
import threading

import grpc
import numpy as np
import pytest

from munjang import errors
from munjang.client import AsyncClient, Client
from munjang.testing import FakeEncoder


def texts_of(count):
    return [f"{number}번째 문장" for number in range(count)]


def expected(texts, version=7):
    encoder = FakeEncoder(seed=version)
    return encoder.forward(encoder.tokenize(texts))


def test_plain_texts_come_back_in_batches_and_in_order(client):
    answers = list(client.encode_stream(texts_of(57)))
    assert [answer.id for answer in answers] == [0, 10, 20, 30, 40, 50]
    vectors = np.concatenate([answer.result().vectors for answer in answers])
    np.testing.assert_array_equal(vectors, expected(texts_of(57)))


def test_batches_keep_the_ids_of_the_caller(client):
    batches = [("뉴스", ["속보입니다"]), (("리뷰", 3), ["좋아요", "별로예요"])]
    answers = list(client.encode_stream(batches))
    assert [(answer.id, answer.texts) for answer in answers] == [
        ("뉴스", ("속보입니다",)),
        (("리뷰", 3), ("좋아요", "별로예요")),
    ]


def test_no_texts_are_no_answers(client):
    assert list(client.encode_stream([])) == []


def test_answers_out_of_order_are_put_in_order(client, server):
    server.embedding.reorder = True
    answers = list(client.encode_stream(((number, [f"{number}"]) for number in range(10)), timeout=5))
    assert [answer.id for answer in answers] == list(range(10))
    np.testing.assert_array_equal(answers[5].result().vectors, expected(["5"]))


def test_the_source_is_read_only_as_answers_are_taken(connect, server):
    client = connect(server.target, batch_size=10, in_flight=4)
    read = itertools.count()
    highest = [0]

    def source():
        while True:
            highest[0] = next(read)
            yield f"{highest[0]}번째"

    answers = client.encode_stream(source())
    for taken in range(1, 30):
        next(answers)
        assert highest[0] <= 10 * (taken + 4 + 2)
    answers.close()


def test_all_batches_are_of_one_version_though_the_alias_moves(client, server):
    server.embedding.version = 7
    answers = client.encode_stream(texts_of(200), version="stable")
    found = [next(answers)]
    server.embedding.version = 8
    found += answers
    assert {answer.result().version for answer in found} == {7}


def test_an_error_of_one_batch_ends_nothing(client, server, make_status, caught):
    answers = client.encode_stream([("가", ["하나"]), ("나", [""]), ("다", ["\ud83d"]), ("라", ["넷"])])
    found = list(answers)
    assert [type(answer.error) for answer in found] == [type(None), errors.EmptyText, errors.InvalidText, type(None)]
    server.embedding.failures.append(make_status(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"))
    found = list(client.encode_stream([("가", ["하나"]), ("나", ["둘"])], version=3))
    assert isinstance(caught(found[0].result), errors.VersionNotFound)
    assert found[1].result().version == 3


def test_a_batch_refused_for_now_is_sent_again(client, server, make_status):
    server.embedding.failures.append(make_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry=0.05))
    answers = list(client.encode_stream(texts_of(50)))
    np.testing.assert_array_equal(np.concatenate([a.result().vectors for a in answers]), expected(texts_of(50)))


def test_a_broken_stream_is_opened_again_and_nothing_is_lost(client, server):
    server.embedding.break_stream_after = 3
    answers = list(client.encode_stream(texts_of(100)))
    np.testing.assert_array_equal(np.concatenate([a.result().vectors for a in answers]), expected(texts_of(100)))
    assert server.embedding.streams == 2


def test_a_stream_that_breaks_each_time_is_given_up(client, server, caught):
    def refuse(iterator, context):
        server.embedding.streams += 1
        server.embedding.abort(context, grpc.StatusCode.UNAVAILABLE)

    server.embedding.answer = refuse
    assert isinstance(caught(list, client.encode_stream(texts_of(30))), errors.ServerUnreachable)
    assert server.embedding.streams == 10  # five tries; each is counted as opened and as refused


def test_a_mistake_in_the_source_reaches_the_caller(client):
    def source():
        yield from texts_of(15)
        msg = "파일이 끊겼다"
        raise OSError(msg)

    with pytest.raises(OSError, match="파일이 끊겼다"):
        list(client.encode_stream(source()))


def test_wrong_options_are_refused_before_the_source_is_read(client, caught):
    def source():
        pytest.fail("the source was read")
        yield ""

    assert isinstance(caught(client.encode_stream, source(), precision="int4"), errors.UnsupportedPrecision)


def test_an_abandoned_stream_leaves_no_thread(client, server):
    before = set(threading.enumerate())
    answers = client.encode_stream(itertools.cycle(texts_of(100)))
    next(answers)
    answers.close()
    mine = [t for t in set(threading.enumerate()) - before if t.name.startswith("munjang-stream")]
    for thread in mine:
        thread.join(10)
        assert not thread.is_alive()


def test_answers_arrive_while_the_source_waits(server):
    """A conversation: the next text is only known once the last answer is there."""
    turn = threading.Semaphore(1)

    def source():
        for number in range(5):
            assert turn.acquire(timeout=10)
            yield number, [f"{number}번째 말"]

    with Client(server.target) as client:
        for answer in client.encode_stream(source()):
            assert answer.result().version == 7
            turn.release()


async def test_an_asynchronous_source_may_wait_for_answers(server):
    turn = asyncio.Semaphore(1)

    async def source():
        for number in range(5):
            await turn.acquire()
            yield number, [f"{number}번째 말"]

    async with AsyncClient(server.target) as client:
        async for answer in client.encode_stream(source()):
            assert answer.result().version == 7
            turn.release()


async def test_an_asynchronous_source_of_texts_is_grouped(server):
    async def source():
        for text in texts_of(25):
            yield text

    async with AsyncClient(server.target, batch_size=10) as client:
        assert [len(answer.result()) async for answer in client.encode_stream(source())] == [10, 10, 5]
