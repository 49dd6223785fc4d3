import itertools

import pytest

from munjang.cli.load_generator import LONG_CHARS, batches, built_in
from munjang.errors import ConfigurationError


def test_lengths_are_mixed_as_asked():
    texts = built_in(0.1, seed=3)
    assert sum(len(text) >= LONG_CHARS for text in texts) == len(texts) // 10
    assert built_in(0.1, seed=3) == texts != built_in(0.1, seed=4)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigurationError):
        built_in(share, seed=0)


def test_batches_go_round_through_all_texts():
    dealt = list(itertools.islice(batches(["가", "나", "다"], 2, seed=0), 3))
    assert [len(batch) for batch in dealt] == [2, 2, 2]
    assert sorted(itertools.chain(*dealt)) == ["가", "가", "나", "나", "다", "다"]
