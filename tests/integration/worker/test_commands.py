"""`munjang jobs …` on a real queue with a real worker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from munjang.bulk import EMBED_FILE
from munjang.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("first_redis_only")


@pytest.fixture
def run(bench: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command of `munjang jobs`: exit status, standard output and standard error."""

    def command(name: str, *arguments: str) -> tuple[int, str, str]:
        status = main(["jobs", name, "--redis", bench.url, *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def test_a_file_is_submitted_watched_and_listed(bench: Any, run: Run) -> None:
    bench.start()
    path = bench.write(2000)
    status, out, err = run("submit", str(path), str(bench.folder / "출력"), "--precision", "int8", "--wait")
    assert status == 0
    assert "succeeded" in out
    assert "2,000 of 2,000 rows" in out
    assert "2 of 2 shards" in err
    assert bench.manifest()["options"]["precision"] == "int8"
    status, out, _ = run("list")
    assert status == 0
    assert "succeeded" in out
    assert "2,000 of 2,000" in out


def test_json_is_for_programs(bench: Any, run: Run) -> None:
    job = json.loads(run("submit", str(bench.write(5)), str(bench.folder / "출력"), "--carry", "text", "--json")[1])
    assert job["state"] == "queued"
    assert job["spec"]["carry_columns"] == ["text"]
    bench.start()
    lines = [json.loads(line) for line in run("watch", job["id"], "--json")[1].splitlines()]
    assert lines[-1]["state"] == "succeeded"
    assert lines[-1]["progress"]["rows_done"] == 5
    assert json.loads(run("status", job["id"], "--json")[1]) == lines[-1]
    assert json.loads(run("list", "--json")[1]) == [lines[-1]]


def test_relative_paths_are_those_of_the_caller(bench: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start()
    bench.write(3)
    monkeypatch.chdir(bench.folder)
    assert run("submit", "입력.jsonl", "출력", "--wait")[0] == 0
    assert len(bench.rows()) == 3


def test_a_job_is_cancelled_and_retried(bench: Any, run: Run) -> None:
    job_id = run("submit", str(bench.write(5)), str(bench.folder / "출력"))[1].strip()
    assert "cancelled" in run("cancel", job_id)[1]
    status, _, err = run("watch", job_id)
    assert status == 1
    assert f"error: {job_id} cancelled" in err
    bench.start()
    assert run("retry", job_id, "--wait")[0] == 0
    assert "succeeded" in run("retry", job_id)[1]


def test_the_id_that_rq_printed_will_do(bench: Any, run: Run) -> None:
    rq_id = bench.rq(EMBED_FILE, str(bench.write(5)), str(bench.folder / "출력"))
    bench.start()
    assert run("watch", rq_id)[0] == 0
    assert "5 of 5 rows" in run("status", rq_id)[1]


def test_the_same_work_is_said_to_be_there_already(bench: Any, run: Run) -> None:
    arguments = ("submit", str(bench.write(5)), str(bench.folder / "출력"))
    first, again = run(*arguments), run(*arguments)
    assert first[1] == again[1]
    assert "already" in again[2]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("status", "job-0"), 1, "there is no job 'job-0'"),
        (("submit", "/in.jsonl", "/out", "--precision", "int4"), 2, "precision"),
        (("submit", "/in.jsonl", "/out", "--precision", "bfloat16"), 2, "bfloat16"),
    ],
)
def test_a_mistake_is_told_in_one_line(run: Run, arguments: tuple[str, ...], status: int, said: str) -> None:
    found, _, err = run(*arguments)
    assert found == status
    assert said in err
    assert status == 2 or len(err.splitlines()) == 1  # wrong usage is told in a frame


def test_a_failed_job_says_why(bench: Any, run: Run) -> None:
    bench.start()
    status, _, err = run("submit", "/없음.jsonl", str(bench.folder / "출력"), "--wait")
    assert status == 1
    assert "there is no file" in err


def test_without_a_queue_or_a_server_there_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUNJANG_REDIS_URL", raising=False)
    assert main(["jobs", "list", "--redis", "redis://127.0.0.1:1"]) == 1
    assert "the job queue cannot be reached" in capsys.readouterr().err
    assert main(["jobs", "list", "--target", "127.0.0.1:1", "--timeout", "1"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
