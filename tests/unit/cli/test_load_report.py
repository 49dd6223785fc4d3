import io

import pytest
from rich.console import Console

from munjang.cli.load_generator import Sample
from munjang.cli.load_report import summarise, table


def run(samples, **options):
    given = {"mode": "closed", "load": 2.0, "batch": 3, "warmup": 1.0, "seconds": 10.0} | options
    return summarise(samples, **given)


def answered(intended, milliseconds, **options):
    return Sample(intended, intended, intended + milliseconds / 1000, "", 7, 12, **options)


def test_percentiles_are_latencies_of_real_calls():
    figures, latencies = run([answered(1 + index / 1000, index + 1) for index in range(1000)])
    assert figures.latency_ms == pytest.approx(
        {"mean": 500.5, "p50": 500, "p95": 950, "p99": 990, "p99.9": 999, "max": 1000}, abs=1
    )
    assert latencies.tolist() == sorted(latencies.tolist())
    assert set(list(figures.latency_ms.values())[1:]) <= set(latencies)


def test_what_warms_up_does_not_count():
    figures, _ = run([answered(0.5, 400), answered(2, 10), answered(3, 20)])
    assert (figures.calls, figures.latency_ms["max"]) == (2, pytest.approx(20))


def test_throughput_is_what_was_answered_within_the_measured_time():
    samples = [answered(0.9, 500), answered(5, 10), answered(10.9, 60_000)]
    figures, _ = run(samples)
    assert figures.calls_per_second == pytest.approx(0.2)
    assert figures.texts_per_second == pytest.approx(0.6)
    assert figures.tokens_per_second == pytest.approx(2.4)
    assert figures.latency_ms["max"] == pytest.approx(60_000)


def test_latency_counts_from_when_a_call_should_have_begun():
    figures, _ = run([Sample(2.0, 2.5, 2.6, "", 7, 1)])
    assert figures.latency_ms["p50"] == pytest.approx(600)
    assert figures.lag_ms == pytest.approx(500)


def test_failures_count_by_reason_and_have_no_latency():
    samples = [Sample(2, 2, 9, "OVERLOADED"), Sample(3, 3, 9, "OVERLOADED"), Sample(4, 4, 9, "DEADLINE_EXCEEDED")]
    figures, latencies = run([*samples, answered(5, 1)])
    assert figures.failed == {"OVERLOADED": 2, "DEADLINE_EXCEEDED": 1}
    assert len(latencies) == 1
    assert figures.versions == {7: 1}


def test_a_run_in_which_nothing_was_answered_is_shown():
    figures, _ = run([Sample(2, 2, 9, "ENGINE_UNAVAILABLE")])
    console = Console(file=io.StringIO(), width=200)
    console.print(table([figures], "제목", 200))
    assert "1 ENGINE_UNAVAILABLE" in console.file.getvalue()


def test_a_narrow_screen_keeps_the_figures_that_matter():
    figures, _ = run([answered(5, 10)])
    console = Console(file=io.StringIO(), width=80)
    console.print(table([figures], "제목", 80))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert all(name in console.file.getvalue() for name in ("texts/s", "p50 ms", "p99 ms", "failed", "not shown here"))
