import re


def test_the_tour_swaps_versions_without_a_failed_call_and_leaves_nothing(munjang, tiny_folder, tmp_path):
    demo = munjang("demo", model=tiny_folder, home=tmp_path / "미사용")
    assert demo.wait() == 0, demo.said
    calls, failed, first, second = map(int, re.search(
        r"(\d+) calls, (\d+) failed; (\d+) by version 1, (\d+) by version 2", demo.said
    ).groups())  # fmt: skip
    assert (calls, failed) == (first + second, 0)
    assert min(first, second) >= 20
    assert "a call that pins version 1 is still answered by it" in demo.said
    assert "\x1b[" not in demo.said
    assert demo.family() == []
    assert not (tmp_path / "미사용").exists()
