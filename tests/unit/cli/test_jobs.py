"""How jobs look on a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import get_args, get_type_hints

import pytest
from rich.cells import cell_len
from rich.console import Console

from munjang.bulk.job import Job, JobProgress, JobSpec, JobState
from munjang.cli import jobs
from munjang.cli.main import main
from munjang.vectors import Precision

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
    assert len([line for line in lines if "job-" in line]) == 2
    assert all(cell_len(line) <= 80 for line in lines)
    assert all(text in lines[3] for text in ("job-6943e7ae480147a4609b", "succeeded", "11,498 of 11,498", "11"))


def test_a_wide_terminal_gets_the_paths_as_well():
    text = "\n".join(printed(jobs.table([job()], 240), 240))
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


class Watched:
    """A queue in which one watches until Ctrl-C."""

    def watch(self, _):
        yield job(JobState.RUNNING)
        raise KeyboardInterrupt

    def submit(self, _):
        return job(JobState.QUEUED), False

    def close(self):
        pass


def test_an_interrupted_wait_says_that_the_job_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(jobs, "_queue", lambda _: Watched())
    monkeypatch.setattr(jobs, "shell_command", lambda name: name)
    assert main(["jobs", "submit", "in.jsonl", "out", "--wait", "--redis", "redis://nowhere"]) == 130
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "job-6943e7ae480147a4609b"
    said = " ".join(printed.err.split())
    assert "job-6943e7ae480147a4609b goes on" in said
    assert "`munjang jobs watch job-6943e7ae480147a4609b`" in said
    assert "`munjang jobs cancel job-6943e7ae480147a4609b`" in said


@pytest.mark.parametrize(
    "wrong", ["--format=xml", "--input-format=doc", "--quoting=yes", "--truncation=start", "--precision=int4"]
)
def test_a_choice_that_is_none_is_wrong_usage(wrong, capsys):
    assert main(["jobs", "submit", "in", "out", wrong]) == 2
    assert wrong.partition("=")[2] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("input_format", "input_format"),
        ("quoting", "quoting"),
        ("output_format", "format"),
        ("truncation", "truncation"),
        ("precision", "precision"),
    ],
)
def test_the_choices_of_the_command_are_those_of_a_job(option, field):
    offered = set(get_args(get_args(get_type_hints(jobs.submit, include_extras=True)[option])[0]))
    for choice in offered:
        assert getattr(JobSpec(input="in", output="out", **{field: choice}), field) == choice
    taken = set(get_args(JobSpec.model_fields[field].annotation)) or {*Precision} - {"bfloat16"}
    assert offered == taken


def test_the_ids_of_jobs_are_completed(monkeypatch, capsys):
    class Queue:
        def recent(self, _):
            return [job()]

        def close(self):
            pass

    monkeypatch.setattr(jobs, "_queue", lambda _: Queue())
    line = "munjang jobs watch --redis redis://nowhere job-6"
    for name, value in {"_MUNJANG_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "5"}.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 0
    assert capsys.readouterr().out.split() == ["job-6943e7ae480147a4609b"]
