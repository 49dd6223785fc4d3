"""The re-embedding drill, whose own checks are what is promised: exit status 0 says that all of it held."""

import re

import pytest


@pytest.mark.timeout(600)
def test_the_model_of_a_search_is_changed_while_it_answers_and_every_promise_holds(munjang, tiny_folder, tmp_path):
    drill = munjang("demo", "--rollover", model=tiny_folder, home=tmp_path / "미사용", aliases="canary")
    assert drill.wait() == 0, drill.said
    calls, failed, first, second = map(int, re.search(
        r"(\d+) calls, (\d+) failed; (\d+) by version 1, (\d+) by version 2", drill.said
    ).groups())  # fmt: skip
    assert (calls, failed) == (first + second, 0)
    assert min(first, second) >= 20
    pinned, failed = map(int, re.search(r"(\d+) calls that pin version 1, (\d+) failed", drill.said).groups())
    assert pinned >= 20
    assert failed == 0
    for version in (1, 2):
        assert f"125 vectors in index-{version}, every row by version {version}" in drill.said
        assert re.search(rf"version {version} +version {version} +0\.\d+ +0\.\d+", drill.said)
    assert re.search(r"version 2 +version 1 +0\.\d+ +0\.\d+", drill.said)
    assert "vectors of version 2 cannot be searched for in an index of version 1" in drill.said
    assert "refused at first: alias 'stable' could roll back to version 1" in drill.said
    assert drill.family() == []
    assert not (tmp_path / "미사용").exists()
