"""A job crosses the wire whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from munjang.bulk.job import Job, JobSpec, JobState
from munjang.client.job_messages import job_message, job_of


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"role": "query", "prompt_name": "query"},
        {"role": "document", "prompt": ""},
        {"prompt": "질문: ", "version": "5a" * 16},
        {"to": "postgresql://search@db/shop/faq"},
    ],
    ids=str,
)
def test_a_job_reads_back_as_it_was(options: dict[str, str]) -> None:
    spec = JobSpec.of_call(("/in/a.jsonl", "/out"), options)
    job = Job(spec.job_id, spec, JobState.RUNNING, datetime(2026, 1, 2, tzinfo=UTC), version=7, space_id="5a" * 16)
    assert job_of(job_message(job)) == job
