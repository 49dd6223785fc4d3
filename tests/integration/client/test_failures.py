"""Retries, deadlines and errors of both clients against a real gRPC server."""

import socket
import threading
import time

import grpc
import pytest

from munjang import errors
from munjang.client import RetryPolicy

UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_unavailable_server_is_tried_again_with_the_same_request_id(client, server, make_status):
    server.embedding.failures += [UNAVAILABLE, make_status(UNAVAILABLE, "SHUTTING_DOWN")]
    assert len(client.encode("다시")) == 1
    ids = [metadata["x-request-id"] for metadata in server.embedding.metadata]
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_two_calls_have_two_request_ids(client, server):
    client.encode("하나")
    client.encode("둘")
    assert len({metadata["x-request-id"] for metadata in server.embedding.metadata}) == 2


def test_tries_are_bounded(connect, server, make_status, caught):
    client = connect(server.target, retry=RetryPolicy(attempts=3, initial=0.001))
    server.embedding.failures += [make_status(UNAVAILABLE, "ENGINE_UNAVAILABLE")] * 9
    assert isinstance(caught(client.encode, "멈춤"), errors.EngineUnavailable)
    assert len(server.embedding.requests) == 3


def test_an_overloaded_server_is_given_the_time_it_asks_for(client, server, make_status):
    server.embedding.failures.append(make_status(EXHAUSTED, "OVERLOADED", retry=0.3))
    begun = time.monotonic()
    client.encode("조금 뒤에")
    assert time.monotonic() - begun >= 0.3


def test_no_try_begins_after_the_callers_deadline(client, server, make_status, caught):
    server.embedding.failures.append(make_status(EXHAUSTED, "RATE_LIMITED", retry=60))
    error = caught(client.encode, "급하다", timeout=5)
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == 60
    assert len(server.embedding.requests) == 1


def test_a_refusal_without_a_time_to_come_back_is_final(client, server, caught):
    server.embedding.failures.append(EXHAUSTED)
    assert isinstance(caught(client.encode, "끝"), errors.Overloaded)
    assert len(server.embedding.requests) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
def test_what_would_fail_again_is_not_tried_again(client, server, code, caught):
    server.embedding.failures.append(code)
    caught(client.encode, "끝")
    assert len(server.embedding.requests) == 1


def test_a_silent_server_is_given_up_at_the_deadline(client, server, caught):
    release = server.embedding.encoder.gate
    release.clear()
    try:
        assert isinstance(caught(client.encode, "대답 없음", timeout=0.2), errors.DeadlineExceeded)
    finally:
        release.set()


def test_the_clients_own_timeout_holds_where_a_call_names_none(connect, server, caught):
    client = connect(server.target, timeout=0.2)
    server.embedding.encoder.gate.clear()
    try:
        assert isinstance(caught(client.encode, "대답 없음"), errors.DeadlineExceeded)
        assert isinstance(caught(list, client.encode_stream(["대답 없음"])), errors.DeadlineExceeded)
    finally:
        server.embedding.encoder.gate.set()


def test_nobody_at_the_address_is_an_error_that_says_so(connect, caught):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        client = connect(f"127.0.0.1:{taken.getsockname()[1]}", retry=RetryPolicy(attempts=2, initial=0.01))
        error = caught(client.encode, "여보세요")
        assert isinstance(error, errors.ServerUnreachable)
        assert "cannot be reached" in str(error)
        assert "ready within 0.2 s" in str(caught(client.wait_ready, 0.2))


def test_a_reply_larger_than_the_client_accepts_is_a_clear_error(connect, server, caught):
    client = connect(server.target, max_message_bytes=2000)
    assert isinstance(caught(client.encode, ["글"] * 100), errors.MessageTooLarge)
    assert len(server.embedding.requests) == 1


def test_a_closed_client_says_so(client, caught):
    client.encode("먼저")
    getattr(client, "client", client)._closed = True
    assert "closed" in str(caught(client.encode, "나중"))


def test_waiting_for_a_server_ends_when_it_serves(client, server):
    server.set_serving(serving=False)
    timer = threading.Timer(0.1, server.set_serving, kwargs={"serving": True})
    timer.start()
    client.wait_ready(10)
    timer.join()


def test_a_server_that_starts_later_is_found(connect, running):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    client, begun = connect(f"127.0.0.1:{port}"), threading.Event()
    started = []

    def start():
        begun.wait()
        started.append(running(port=port))
        started[0].__enter__()

    thread = threading.Thread(target=start)
    thread.start()
    begun.set()
    try:
        client.wait_ready(20)
        assert len(client.encode("일어났니")) == 1
    finally:
        thread.join()
        started[0].__exit__(None, None, None)
