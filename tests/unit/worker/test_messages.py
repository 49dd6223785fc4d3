"""What a job says when a step fails in a way that nobody foresaw: the error's text, the rows and their file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from munjang_worker.rq_queue import BulkJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STAGES = {
    "munjang_worker.reader.make_block": 1024,
    "munjang_worker.encoding.BlockTokenizer.__call__": 1024,
    "munjang_worker.encoding.BlockEncoder.__call__": 1024,
    "munjang_worker.writers.json_values": 1024,
}


def message(failure: BaseException) -> str:
    job: Any = SimpleNamespace(failure=failure, description="job-1: shard 2 of 3", timeout=1)
    return BulkJob._message(job)


@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_names_its_text_its_rows_and_their_file(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("문장\n" * 1024, encoding="utf-8")
    calls: list[Any] = []
    module, name = stage.removesuffix(".__call__").rsplit(".", 1)
    target = __import__(module, fromlist=[name])
    owner, attribute = (getattr(target, name), "__call__") if stage.endswith("__call__") else (target, name)
    original = getattr(owner, attribute)

    def fail_second(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("뜻밖의 일")
        return original(*args, **options)

    monkeypatch.setattr(owner, attribute, fail_second)
    with pytest.raises(RuntimeError) as caught:
        run(tmp_path / "*.txt", format="jsonl", shard_rows=2048)
    text = message(caught.value)
    assert "job-1: shard 2 of 3: RuntimeError: 뜻밖의 일" in text
    assert "row" in text
    assert "1024" in text
    assert str(tmp_path / "b.txt") in text
    assert str(tmp_path / "a.txt") not in text


def test_a_failure_of_storage_names_the_file() -> None:
    text = message(PermissionError(13, "Permission denied", "/data/in.jsonl"))
    assert text == "job-1: shard 2 of 3: [Errno 13] Permission denied: '/data/in.jsonl'"


def test_a_message_is_no_longer_than_people_read() -> None:
    assert len(message(ValueError("긴 말 " * 10_000))) < 600
