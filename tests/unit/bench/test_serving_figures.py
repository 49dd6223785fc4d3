"""What the serving benchmark makes of calls and metrics pages: windows, percentiles, outcomes, padding, dead tokens."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from munjang.cli.load_generator import Sample
from munjang.client.results import Embeddings
from munjang.errors import Overloaded
from tests.bench.serving import metrics, samples
from tests.bench.serving.callers import GivenUp, Keeping, Leaving
from tests.bench.serving.mixed import over_alone
from tests.bench.serving.overload import held_against_peaks, outcomes

PAGE = """
# TYPE munjang_server_batch_tokens histogram
munjang_server_batch_tokens_sum{{lane="interactive"}} {interactive}
munjang_server_batch_tokens_sum{{lane="bulk"}} {bulk}
# TYPE munjang_server_computed_tokens counter
munjang_server_computed_tokens_total{{lane="interactive"}} {computed}
munjang_server_computed_tokens_total{{lane="bulk"}} {bulk}
# TYPE munjang_server_wasted_tokens counter
munjang_server_wasted_tokens_total {dead}
"""


def page(interactive, bulk, computed, dead):
    return metrics.parse(PAGE.format(interactive=interactive, bulk=bulk, computed=computed, dead=dead))


def call(begin, end, reason="", begun=None):
    return Sample(begin, begin if begun is None else begun, end, reason)


def test_only_what_was_counted_between_two_pages_counts():
    before, after = page(100, 10, 200, 5), page(1000, 110, 1200, 15)

    assert metrics.tokens(before, after, lane="interactive") == {
        "real": 900,
        "computed": 1000,
        "padding": pytest.approx(0.1),
        "dead": 10,
        "dead_share": 0.01,
    }
    assert metrics.tokens(after, after)["padding"] == 0


def test_a_percentile_is_the_latency_of_a_real_call():
    assert samples.percentile([3, 1, 2], 0.5) == 2
    assert samples.percentile(range(1, 101), 0.99) == 99
    assert samples.percentile([7], 0.01) == 7
    assert math.isnan(samples.percentile([], 0.5))


def test_a_call_that_touches_a_window_belongs_to_it():
    before, across, within, after = call(0, 1), call(1, 2.5), call(2.1, 2.2), call(3.1, 4)

    assert samples.divide([before, across, within, after], [(2, 3), (9, 10)]) == ([across, within], [before, after])


def test_latencies_count_from_when_a_call_should_have_begun_and_leave_failures_out():
    found = samples.latencies([call(0, 0.5, begun=0.4), call(1, 1.1), call(2, 9, "OVERLOADED")])

    assert found == {"calls": 2, "p50": pytest.approx(100), "p99": 500, "max": 500}
    assert samples.latencies([]) == {"calls": 0}


def test_a_timeline_has_a_row_for_each_second_with_calls():
    first, third = samples.timeline([call(0.2, 0.3), call(2.9, 3.5, "OVERLOADED"), call(0.8, 1.8)])

    assert (first["second"], first["calls"], first["max"], first["failed"]) == (0, 2, 1000, 0)
    assert third == {"second": 2, "calls": 0, "failed": 1}


def test_an_expired_call_was_admitted_and_one_given_up_is_neither():
    found = outcomes(
        [
            call(0, 0.5),
            call(0, 1, "DEADLINE_EXCEEDED"),
            call(0, 0.01, "DEADLINE_UNREACHABLE"),
            call(0, 0.2, "GIVEN_UP"),
            call(0, 0.1, "INTERNAL"),
        ]
    )

    assert found["refused_share"] == 0.2
    assert found["refused_ms"]["p99"] == 10
    assert found["admitted_ms"] == {"p50": 500, "p99": 1000}
    assert found["expired_of_admitted"] == 0.5
    assert found["other_failures"] == 1


def test_a_flood_is_held_against_the_peaks_before_and_after_it():
    floods = [{"texts_per_second": rate} for rate in (90.0, 120.0, 300.0, 40.0)]
    found = held_against_peaks([100.0, 100.0, 140.0, 260.0, 140.0], floods)

    assert found["floods"] == {"patient": [floods[0], floods[2]], "leaving": [floods[1], floods[3]]}
    assert [flood["goodput_over_peak"] for flood in floods] == [0.9, 1.0, 1.5, 0.2]
    assert found["goodput_over_peak"] == {"patient": pytest.approx(1.2), "leaving": pytest.approx(0.6)}


def test_a_machine_that_slows_down_for_a_round_does_not_distort_what_streams_cost():
    rounds = {"alone": [[call(0, 1)], [call(0, 4)], [call(0, 2)]], "beside": [[call(0, 2)], [call(0, 8)], [call(0, 9)]]}

    assert over_alone(rounds) == {"beside": 2}


class Answers:
    """A client whose server answers with these vectors, one after the other."""

    def __init__(self, *answers):
        self._answers = list(answers)

    async def encode(self, texts, **options):
        version, row = self._answers.pop(0)
        return Embeddings(np.array([row], np.float32), version, 2, np.array([1], np.uint32))


async def test_a_reply_that_names_one_version_and_holds_the_vector_of_another_is_mixed():
    own = {1: {"글": np.array([1, 0], np.float32)}, 2: {"글": np.array([0, 1], np.float32)}}
    keeping = Keeping(Answers((1, [1, 0]), (2, [0, 1]), (2, [1, 0])))
    for _ in range(3):
        await keeping.encode(["글"])

    assert keeping.mixed(own) == 1


async def test_only_some_callers_leave_and_say_so():
    class Silent:
        async def encode(self, texts, **options):
            raise Overloaded("no room")

    with pytest.raises(Overloaded):
        await Leaving(Silent(), share=0.0, seconds=1.0).encode(["글"])
    with pytest.raises(GivenUp):
        await Leaving(Never(), share=1.0, seconds=0.001).encode(["글"])


class Never:
    """A client that is never answered."""

    async def encode(self, texts, **options):
        await asyncio.Event().wait()
