"""The promises read off a run's figures: the right figure, against the right limit."""

from __future__ import annotations

from tests.bench.speed.page_sections import promised
from tests.bench.speed.promises import promises
from tests.bench.speed.stats import summary


def by_text(figures):
    return {promise.text: promise for promise in promises(figures)}


def way(rate, *, cosine=0.99999, default=1.0, bar=1.0, share=0.5):
    return summary([rate]) | {
        "worst_cosine": cosine,
        "times_default": default,
        "times_bar": bar,
        "share_of_peak": share,
    }


def test_our_fastest_way_that_is_exact_enough_counts():
    rates = {
        "OpenVINO bfloat16, token-budget batches": way(300, bar=1.0),
        "munjang openvino int8": way(900, cosine=0.97, bar=3.0),
        "munjang openvino bfloat16": way(390, bar=1.3),
        "munjang openvino float32": way(200, bar=0.7),
    }
    found = by_text({"encode": {"sets": {"sentences": {"rates": rates}, "128 tokens": {"rates": rates}}}})

    assert found["sentences: × the plain OpenVINO loop, cosine ≥ 0.9999"].measured == 1.3
    assert not found["128 tokens: share of the bfloat16 peak"].kept
    assert len(found) == 2


def served(callers, rows):
    return {"served": {"machine": {"cores": 2}, "cases": [{"callers": callers, "batch": 1, "servers": rows}]}}


def test_the_better_infinity_counts_for_the_rate_and_for_the_tail():
    own = {"munjang_is_times": 1.0, "p99": summary([300.0])}
    rows = {
        "munjang": own,
        "Infinity, torch": {"munjang_is_times": 6.0, "p99": summary([1000.0])},
        "Infinity, ONNX": {"munjang_is_times": 4.5, "p99": summary([1100.0])},
    }
    found = by_text(served(64, rows))

    assert found["64 callers: × the better Infinity's sentences a second"].measured == 4.5
    assert found["64 callers: p99 as a share of the better Infinity's"].measured == 0.3
    assert all(promise.kept for promise in found.values())


def test_what_the_client_takes_of_the_processor_is_told_apart():
    own = {"munjang_is_times": 1.0, "texts_per_second": summary([400.0]), "client_cpu_ms": summary([0.5])}
    rows = {"munjang": own, "munjang in process": {"munjang_is_times": 0.81}}
    [promise] = promises(served(256, rows))

    assert round(promise.measured, 3) == 0.9  # the client takes a tenth of two cores


def test_sections_that_failed_or_were_skipped_promise_nothing():
    assert promises({"wire": {"failed": "why"}, "gpu": {"skipped": "no device"}}) == []
    assert promised([]) == ""


def test_a_broken_promise_stands_out():
    figures = {"overhead": {"over_forward_ms": summary([2.2])}}

    assert "| one call over the bare forward, ms | ≤ 1.5 | 2.2 | **no** |" in promised(promises(figures))
