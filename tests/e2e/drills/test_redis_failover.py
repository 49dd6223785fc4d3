"""Promise: Redis dies at any time: calls for vectors do not notice, jobs go on when it is back, each row comes once.

Killed and started again on its own file, and killed for good, with a replica taking over behind the same address.
"""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from redis import Redis

from munjang.bulk.job import JobSpec
from munjang.cli.callers import Callers
from munjang.client import RetryPolicy
from munjang.client.job_client import JobClient
from munjang.client.jobs import JobQueue
from munjang.errors import QueueUnavailable

ROWS = 8192
TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]


def rows_of(output):
    """The ids of all rows of an output, in order."""
    return [key for part in sorted(output.glob("part-*.parquet")) for key in pq.read_table(part)["id"].to_pylist()]


def finished(url, job_id, until):
    """Wait until a job has ended; the job."""
    queue = JobQueue(url)
    job = until(lambda: (found := queue.get(job_id)).state.ended and found, "the end of the job")
    queue.close()
    return job


def check(job, output):
    assert job.state == "succeeded", job
    assert rows_of(output) == [str(number) for number in range(ROWS)]


@pytest.fixture
def stack(registry, replica, start_worker):
    """Start a server and a worker on a queue."""

    def start(url):
        worker = start_worker(registry, url)
        server = replica(registry, redis_url=url).ready()
        worker.wait_for("worker ready")
        return server, worker

    return start


@pytest.fixture
def running(corpus, tmp_path, until):
    """Submit a job by way of a server, and wait until its first shard is committed: the job's id."""

    def submit(server):
        spec = JobSpec(input=str(corpus(ROWS)), output=str(tmp_path / "출력"))
        with JobClient(server.target) as jobs:
            job, _ = jobs.submit(spec)
            until(lambda: jobs.get(job.id).progress.shards_done >= 1, "the first shard")
            assert jobs.get(job.id).progress.shards_done < ROWS / 1024, "the job has ended before anything broke"
        return job.id

    return submit


def test_redis_is_killed_and_started_again_while_calls_and_a_job_go_on(
    redis_server, stack, running, impatient, tmp_path, until
):
    server, worker = stack(redis_server.url)
    with impatient(server.target) as client, Callers(client, TEXTS) as callers:
        job_id = running(server)
        redis_server.kill()
        assert callers.wait(1, 50, 60)
        with JobClient(server.target, retry=RetryPolicy(attempts=1)) as jobs, pytest.raises(QueueUnavailable):
            jobs.get(job_id)
        redis_server.start()
        check(finished(redis_server.url, job_id, until), tmp_path / "출력")
    assert callers.failures == {}
    assert worker.process.poll() is None
    assert worker.stop() == 0
    assert server.program.stop() == 0


def test_a_replica_takes_over_from_a_redis_that_never_comes_back(
    redis_server, redis_binary, new_redis, link, stack, running, impatient, tmp_path, until
):
    second = new_redis(redis_binary)
    with Redis(port=second.port) as spare:
        spare.replicaof("127.0.0.1", str(redis_server.port))
        until(lambda: spare.info("replication")["master_link_status"] == "up", "the replica")
        address = link(redis_server.port, delay=0.005)  # what a proxy, Sentinel's clients or a cloud's name do
        url = f"redis://{address.target}/0"
        server, worker = stack(url)
        with impatient(server.target) as client, Callers(client, TEXTS) as callers:
            job_id = running(server)
            redis_server.kill()
            spare.replicaof("NO", "ONE")
            address.server_port = second.port
            address.cut()
            check(finished(url, job_id, until), tmp_path / "출력")
    assert callers.failures == {}
    assert worker.process.poll() is None
