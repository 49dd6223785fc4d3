from types import SimpleNamespace

import pytest

from munjang_server.rpc.interceptor import time_left


@pytest.mark.parametrize(("told", "left"), [(None, None), (0.0, None), (2.5, 2.5)])
def test_a_deadline_that_the_clock_has_jumped_over_counts_as_none(told, left):
    assert time_left(SimpleNamespace(time_remaining=lambda: told)) == left
