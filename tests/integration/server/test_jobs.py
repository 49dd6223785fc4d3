"""JobService: a front of the queue in Redis, seen by a stock stub and by JobClient; no worker runs here."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from redis import Redis

from munjang.bulk.job import JobSpec, JobState, job_key
from munjang.client.job_client import JobClient
from munjang.client.jobs import JobQueue
from munjang.errors import InvalidJob, JobNotFound
from munjang.v1 import job_service_pb2 as pb2
from munjang.v1 import job_service_pb2_grpc, resources_pb2
from munjang_server.security.authentication import PeerAuthenticator
from munjang_server.shutdown import drain

SPEC = JobSpec(
    input="/자료/문장.csv",
    output="/벡터",
    precision="int8",
    dimensions=4,
    normalize=True,
    truncation="none",
    carry_columns=("제목",),
    format="npy",
    max_error_rate=0.25,
    encoding="cp949",
    shard_rows=2048,
)


@pytest.fixture
async def server(run_server, redis_url):
    """A server in front of an empty queue, which everybody may use."""
    async with run_server(redis_url=redis_url, authenticator=PeerAuthenticator(admin=True)) as started:
        yield started


@pytest.fixture
def stub(server):
    return job_service_pb2_grpc.JobServiceStub(server.channel)


@pytest.fixture
def queue(redis_url):
    found = JobQueue(redis_url)
    yield found
    found.close()


@pytest.fixture
def pretend(redis_url):
    """Change a job's record, as a worker would."""
    with Redis.from_url(redis_url) as client:
        yield lambda job_id, **fields: client.hset(job_key(job_id), mapping=fields)


def request(**fields):
    return pb2.SubmitJobRequest(spec=pb2.JobSpec(**({"input": "/in.jsonl", "output": "/out"} | fields)))


async def test_a_submitted_job_waits_in_the_queue_once(stub, queue):
    first = await stub.SubmitJob(request())
    again = await stub.SubmitJob(request())
    assert (first.existing, again.existing) == (False, True)
    assert first.job.id == again.job.id
    assert first.job.state == pb2.JOB_STATE_QUEUED
    assert first.job.spec.options.version == "stable"
    assert first.job.spec.format == pb2.OUTPUT_FORMAT_PARQUET
    assert queue.depth() == (1, 0)
    assert queue.get(first.job.id).spec == JobSpec(input="/in.jsonl", output="/out")


async def test_jobs_are_read_as_the_worker_leaves_them(stub, pretend):
    job_id = (await stub.SubmitJob(request())).job.id
    fields = {
        "rows_total": 10,
        "rows_done": 4,
        "rows_failed": 1,
        "shards_total": 5,
        "shards_done": 2,
        "tokens_done": 99,
    }
    pretend(job_id, state="running", version=3, started_at=time.time() - 2, **fields)
    job = (await stub.GetJob(pb2.GetJobRequest(id=job_id))).job
    assert (job.state, job.version) == (pb2.JOB_STATE_RUNNING, 3)
    assert {name: getattr(job.progress, name) for name in fields} == fields
    assert job.progress.rows_per_second > 0
    assert job.progress.seconds_left > 0
    assert job.HasField("started_at")
    assert not job.HasField("ended_at")


async def test_jobs_are_listed_in_pages(stub):
    ids = [(await stub.SubmitJob(request(output=f"/출력{number}"))).job.id for number in range(5)]
    seen, token = [], ""
    for _ in range(3):
        reply = await stub.ListJobs(pb2.ListJobsRequest(page_size=2, page_token=token))
        seen.append([job.id for job in reply.jobs])
        token = reply.next_page_token
    assert seen == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    assert token == ""


async def test_a_cancelled_job_leaves_the_queue(stub, queue):
    job_id = (await stub.SubmitJob(request())).job.id
    job = (await stub.CancelJob(pb2.CancelJobRequest(id=job_id))).job
    assert job.state == pb2.JOB_STATE_CANCELLED
    assert job.HasField("ended_at")
    assert queue.depth() == (0, 0)
    assert (await stub.CancelJob(pb2.CancelJobRequest(id=job_id))).job == job


async def test_a_watch_sends_every_change_and_ends_with_the_job(stub, pretend):
    job_id = (await stub.SubmitJob(request())).job.id
    watch = stub.WatchJob(pb2.WatchJobRequest(id=job_id), timeout=30)
    states = []
    async for reply in watch:
        states.append(reply.job.state)
        if reply.job.state == pb2.JOB_STATE_QUEUED:
            pretend(job_id, state="running")
        elif reply.job.progress.rows_done == 0:
            pretend(job_id, rows_done=5)
        else:
            pretend(job_id, state="succeeded")
    assert states == [pb2.JOB_STATE_QUEUED, pb2.JOB_STATE_RUNNING, pb2.JOB_STATE_RUNNING, pb2.JOB_STATE_SUCCEEDED]


async def test_a_watch_ends_when_the_server_drains(server, stub, failure):
    job_id = (await stub.SubmitJob(request())).job.id
    watch = stub.WatchJob(pb2.WatchJobRequest(id=job_id), timeout=30)
    await watch.read()
    stopping = asyncio.create_task(drain(server.services, server.doors, seconds=20, lame_duck=0))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch.read()
    assert failure(caught.value).reason == "SHUTTING_DOWN"
    assert await stopping is True


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input": ""}, ("spec.input", "INVALID_JOB")),
        ({"input": "in.jsonl"}, ("spec.input", "INVALID_JOB")),
        ({"output": "../out"}, ("spec.output", "INVALID_JOB")),
        ({"max_error_rate": 2}, ("spec.max_error_rate", "INVALID_JOB")),
        ({"format": 99}, ("spec.format", "INVALID_JOB")),
        ({"carry_columns": ["a", "a"]}, ("spec.carry_columns", "INVALID_JOB")),
        ({"encoding": "base64"}, ("spec.encoding", "INVALID_JOB")),
        ({"options": {"precision": 99}}, ("spec.options.precision", "UNSUPPORTED_PRECISION")),
        ({"options": {"precision": 3}}, ("spec.options.precision", "INVALID_JOB")),
        ({"options": {"truncation": 9}}, ("spec.options.truncation", "INVALID_OPTION")),
    ],
)
async def test_a_wrong_spec_is_refused_by_its_field(stub, queue, failure, fields, expected):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SubmitJob(request(**fields))
    found = failure(caught.value)
    assert (found.code, found.field, found.reason) == ("INVALID_ARGUMENT", *expected)
    assert queue.depth() == (0, 0)


@pytest.mark.parametrize("method", ["GetJob", "CancelJob"])
async def test_an_unknown_job_is_not_found_and_a_nameless_one_refused(stub, failure, method):
    kind = {"GetJob": pb2.GetJobRequest, "CancelJob": pb2.CancelJobRequest}[method]
    for name, code, reason in (("job-0", "NOT_FOUND", "JOB_NOT_FOUND"), ("", "INVALID_ARGUMENT", "INVALID_JOB")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, method)(kind(id=name))
        assert (failure(caught.value).code, failure(caught.value).reason) == (code, reason)


async def test_a_page_token_that_is_none_is_refused(stub, failure):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListJobs(pb2.ListJobsRequest(page_token="전에"))
    assert failure(caught.value).field == "page_token"


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0"])
async def test_without_a_queue_every_call_says_so(run_server, failure, url):
    async with run_server(redis_url=url, authenticator=PeerAuthenticator(admin=True)) as server:
        stub = job_service_pb2_grpc.JobServiceStub(server.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListJobs(pb2.ListJobsRequest(), timeout=30)
        assert (failure(caught.value).code, failure(caught.value).reason) == ("UNAVAILABLE", "QUEUE_UNAVAILABLE")


async def test_who_may_not_administer_may_look_and_not_submit(run_server, redis_url, failure):
    async with run_server(redis_url=redis_url, authenticator=PeerAuthenticator()) as server:
        stub = job_service_pb2_grpc.JobServiceStub(server.channel)
        assert not (await stub.ListJobs(pb2.ListJobsRequest())).jobs
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.SubmitJob(request())
        assert failure(caught.value).reason == "PERMISSION_DENIED"


async def test_the_client_s_methods_are_those_of_the_queue(server, queue, pretend):
    def talk():
        with JobClient(server.target) as client:
            job, existing = client.submit(SPEC)
            assert existing is False
            assert job == client.get(job.id) == queue.get(job.id)
            assert job.spec == SPEC
            assert client.recent() == queue.recent() == [job]
            assert client.cancel(job.id).state is JobState.CANCELLED
            assert client.retry(job.id).state is JobState.QUEUED
            assert client.retry(job.id).state is JobState.QUEUED
            watch = client.watch(job.id)
            assert next(watch).state is JobState.QUEUED
            pretend(job.id, state="failed", message="이유")
            assert [found.message for found in watch] == ["이유"]
            with pytest.raises(JobNotFound):
                client.get("job-0")
            with pytest.raises(InvalidJob):
                list(client.watch(""))

    await asyncio.to_thread(talk)


async def test_every_precision_format_and_truncation_goes_there_and_back(server):
    def talk():
        with JobClient(server.target) as client:
            for number, (precision, kind) in enumerate(
                (precision, kind)
                for precision in ("float32", "float16", "int8", "ubinary")
                for kind in ("parquet", "jsonl", "npy")
            ):
                spec = JobSpec(input="/in", output=f"/out{number}", precision=precision, format=kind, normalize=False)
                assert client.submit(spec)[0].spec == spec

    await asyncio.to_thread(talk)
    assert resources_pb2.PRECISION_UBINARY == 5
