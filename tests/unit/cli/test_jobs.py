"""How jobs look on a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from munjang.bulk.job import Job, JobProgress, JobSpec, JobState
from munjang.cli import jobs

SPEC = JobSpec(input="/자료/" + "긴" * 30 + "/문장.jsonl", output="/자료/벡터")
DONE = JobProgress(rows_done=11_498, rows_total=11_498, rows_failed=11, shards_done=2, shards_total=2)


def job(state: JobState = JobState.SUCCEEDED, progress: JobProgress = DONE) -> Job:
    return Job("job-6943e7ae480147a4609b", SPEC, state, datetime.now(UTC), version=3, progress=progress)


def printed(what: object, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    return out.getvalue().splitlines()


def test_a_narrow_terminal_gets_a_line_for_each_job_with_its_whole_id():
    lines = printed(jobs.table([job(), job()], 80), 80)
    assert len(lines) == 3
    assert all(text in lines[1] for text in ("job-6943e7ae480147a4609b", "succeeded", "11,498 of 11,498", "11"))


def test_a_wide_terminal_gets_the_paths_as_well():
    text = "\n".join(printed(jobs.table([job()], 200), 200))
    assert SPEC.input in text
    assert SPEC.output in text
    assert "2 of 2" in text


@pytest.mark.parametrize(
    ("state", "progress", "said"),
    [
        (JobState.QUEUED, JobProgress(), "waiting for a worker"),
        (JobState.RUNNING, JobProgress(), "looking at the input"),
        (JobState.FAILED, JobProgress(), "nothing was begun"),
        (JobState.SUCCEEDED, DONE, "11,498 of 11,498 rows · 2 of 2 shards · 11 failed"),
    ],
)
def test_progress_says_what_happens_and_leaves_noughts_out(state, progress, said, capsys):
    jobs._print_job(job(state, progress), as_json=False)
    assert said in capsys.readouterr().out
