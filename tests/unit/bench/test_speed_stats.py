import json
import math

import pytest

from tests.bench.speed.stats import interleave, ratio, slope, summary
from tests.bench.speed.work import Shape, read_shape


def test_a_summary_gives_the_median_the_spread_and_the_rounds_in_their_order():
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0, "rounds": [3.0, 1.0, 2.0]}


def test_a_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        summary([])


def test_a_ratio_is_taken_within_rounds_so_that_a_slow_round_does_not_distort_it():
    assert ratio([200.0, 100.0, 200.0], [100.0, 50.0, 100.0]) == 2.0


def test_each_round_begins_with_another_contestant():
    order = []
    contestants = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
    values = interleave(contestants, rounds=3, seconds=60)
    assert "".join(order) == "abcbcacab"
    assert values == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_one_round_is_run_where_there_is_time_for_none():
    assert interleave({"a": lambda: 1.0}, rounds=5, seconds=0) == {"a": [1.0]}


def test_the_slope_of_a_power_is_its_exponent():
    sizes = [1, 10, 100]
    assert slope(sizes, [0.5 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_operations_are_two_for_each_weight_and_token_and_grow_with_attention():
    shape = Shape(layers=2, width=4, middle=16)
    weights = 2 * (4 * 4 * 4 + 2 * 4 * 16)
    assert shape.weight_bytes(4) == 4 * weights
    assert shape.operations([3]) == 2 * 3 * weights + 2 * 3 * 4 * 4 * 3
    assert math.isclose(shape.operations([3, 3]), 2 * shape.operations([3]))


def test_a_shape_is_read_from_the_model_s_configuration(tmp_path):
    config = {"num_hidden_layers": 12, "hidden_size": 384, "intermediate_size": 1536}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_shape(tmp_path) == Shape(12, 384, 1536)
