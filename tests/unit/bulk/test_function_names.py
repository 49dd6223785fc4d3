"""The functions of bulk jobs are known by their names of today and of the releases before."""

from __future__ import annotations

import pytest

from munjang.bulk import EMBED_FILE, EMBED_SHARD, FINISH_FILE, function_name


@pytest.mark.parametrize(
    ("former", "current"),
    [
        ("worker.jobs.embed_file", EMBED_FILE),
        ("worker.jobs.embed_shard", EMBED_SHARD),
        ("worker.jobs.finish_file", FINISH_FILE),
    ],
)
def test_a_name_of_a_former_release_and_the_current_one_mean_the_same(former: str, current: str) -> None:
    assert function_name(former) == function_name(current) == current


@pytest.mark.parametrize("path", ["os.system", "worker.jobs.current", "worker.jobs", "", "munjang_worker.jobs.step"])
def test_any_other_name_stays_what_it_is(path: str) -> None:
    assert function_name(path) == path


@pytest.mark.parametrize("path", [None, 7, [], {}, b"worker.jobs.embed_file"])
def test_what_is_no_name_names_no_function(path: object) -> None:
    assert function_name(path) == ""
