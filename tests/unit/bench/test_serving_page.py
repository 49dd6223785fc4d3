"""The serving benchmark's page: every section is told, every promise is held against the right figure."""

from __future__ import annotations

import json

import pytest

from tests.bench.serving import page
from tests.bench.serving.__main__ import SECTIONS
from tests.bench.serving.promises import promises
from tests.bench.speed.stats import summary

MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gib": 24,
    "device": "none",
    "python": "3.11",
    "versions": {"grpcio": "1.85.1"},
    "commit": "abc1234",
    "measured_at": "2026-01-01T00:00:00+00:00",
    "load_at_start": 0.1,
    "texts": "KorSTS",
    "quick": False,
}
LATENCY = {"calls": 900, "p50": 8.0, "p99": 20.0, "max": 30.0}
TIMELINE = [{"second": 0, **LATENCY, "failed": 0}, {"second": 1, "calls": 0, "failed": 2}]
MEMORY = {"first": 700_000_000, "highest": 735_000_000, "last": 710_000_000}


def spread(value):
    return {"median": value, "low": value, "high": value, "rounds": [value]}


def swapped(kinds, over):
    return {
        "calls_per_second": 90.0,
        "calls": 1800,
        "failed": {},
        "mixed": 0,
        "steady_ms": LATENCY,
        "kinds": {kind: {"swaps": 50, "seconds": 0.3, "latency_ms": LATENCY} for kind in kinds},
        "p99_over_steady": dict(zip(kinds, over, strict=True)),
        "memory": {"5": {"rss": 8e8, "pss": 7e8}, "50": {"rss": 9.6e8, "pss": 7.07e8}},
        "memory_growth": {"rss": 0.2, "pss": 0.01},
        "windows": [[0.2, 0.9]],
        "timeline": TIMELINE,
    }


def flood(dead):
    return {
        "calls_per_second": 110.0,
        "texts_per_second": 290.0,
        "refused_share": 0.66,
        "refused_ms": {"p50": 2.0, "p99": 9.0},
        "admitted_ms": {"p50": 600.0, "p99": 930.0},
        "expired_of_admitted": 0.001,
        "other_failures": 0,
        "tokens": {"real": 1000, "computed": 1010, "padding": 0.01, "dead": dead, "dead_share": dead / 1000},
        "failed": {"DEADLINE_UNREACHABLE": 70},
    }


def fault(**found):
    return found | {"longest_wait_seconds": 3.2, "calls": {"answered": 7, "ENGINE_UNAVAILABLE": 90}}


SHORT_CALLS = {
    "short_calls": 400,
    "short_failures": [],
    "short_failed": 0,
    "unhealthy_looks": 0,
    "short_ms": {"p50": 5.0, "p99": 11.0},
}
FIGURES = {
    "swaps": {
        "alike": 0.1,
        "watch_seconds": 0.2,
        "resident": swapped(["fresh", "swap"], [4.0, 1.2]),
        "loading": swapped(["swap"], [3.0]),
    },
    "overload": {
        "times": 3.0,
        "batch": 8,
        "deadline_ms": 1000.0,
        "leaving_share": 0.1,
        "peak_texts_per_second": summary([300.0, 310.0]),
        "goodput_over_peak": {"patient": 0.95, "leaving": 0.9},
        "floods": {"patient": [flood(0), flood(4)], "leaving": [flood(30)]},
        "memory": MEMORY,
        "memory_growth": 0.05,
    },
    "hopeless": {
        "callers": 8,
        "batch": 1000,
        "rate": 100.0,
        "deadline_ms": 50.0,
        "texts_per_second": {"alone": summary([200.0]), "beside hopeless lists": summary([150.0])},
        "over_alone": {"alone": 1.0, "beside hopeless lists": 0.75},
        "unreachable_share": 0.995,
    },
    "rerank": {
        "callers": 32,
        "documents": 10,
        "rate": 20.0,
        "swaps": 6,
        "latency_ms": {"Rerank alone": LATENCY, "Rerank together": LATENCY},
        "failures": {"Rerank alone": {}, "Rerank together": {"OVERLOADED": 2}},
        "versions": [2, 3],
    },
    "long": {
        "shapes": {
            "384 wide": {
                "alone": {**SHORT_CALLS, "long": None},
                "swap": {**SHORT_CALLS, "long": {"seconds": 20.0}},
                "beside": {
                    "10 × 8,192": {
                        **SHORT_CALLS,
                        "long": {
                            "tokens": 8192,
                            "first_seconds": 9.0,
                            "last_seconds": 60.0,
                            "outcomes": {"answered": 7, "OVERLOADED": 1},
                            "left_by_their_callers": 2,
                        },
                    }
                },
            }
        }
    },
    "hostile": {
        "families": 55,
        "characters": 200_000,
        "latency_ms": {"alone": LATENCY, "beside hostile texts": LATENCY},
        "hostile_ms": LATENCY,
        "p99_over_alone": {"beside hostile texts": 2.5},
        "failed_short": {"OVERLOADED": 1},
        "failed_hostile": {},
        "health_turned": False,
    },
    "mixed": {
        "padding": {"stream": {"real": 900, "computed": 1000, "padding": 0.1}},
        "latency_ms": {"alone": LATENCY, "beside mixed": LATENCY},
        "failed_calls": 0,
        "p99_over_alone": {"beside mixed": 3.5},
    },
    "http": {
        "callers": {
            "1": {
                "texts_per_second": {"gRPC": spread(100.0), "HTTP": spread(95.0)},
                "p50": {"gRPC": spread(9.0), "HTTP": spread(9.5)},
                "speed_of_grpc": 0.95,
                "added_ms": spread(0.5),
            }
        },
        "half_open": {
            "connections": 10_000,
            "p99": {"alone": spread(20.0), "beside": spread(30.0)},
            "p99_over_alone": 1.5,
        },
    },
    "unary": {
        "parts_ms": {"one call": summary([5.0])},
        "over_forward_ms": summary([1.4]),
        "rest_ms": summary([0.5]),
    },
    "faults": {
        "hold_seconds": 10.0,
        "faults": {
            "every forward fails": fault(not_serving_seconds=0.1, serving_again_seconds=0.9),
            "a forward is stuck": fault(not_serving_seconds=3.1, serving_again_seconds=5.5),
            "no memory at all": fault(not_serving_seconds=0.1, serving_again_seconds=0.9),
            "the process is stopped": fault(answer_again_seconds=0.05, health_turned=False),
        },
        "poison": {
            "texts": 256,
            "answered": 255,
            "errors": [{"index": 77, "reason": "ENCODE_FAILED"}],
            "poisoned": 77,
            "seconds": 1.0,
            "clean_seconds": 0.8,
        },
    },
    "stream": {
        "texts": 1_000_000,
        "batch": 256,
        "fast_texts_per_second": 20_000.0,
        "slow_texts_per_second": 13_000.0,
        "failed_messages": 0,
        "most_unread_messages": 40,
        "memory": MEMORY,
        "memory_growth": 0.05,
    },
    "restart": {
        "servers": 3,
        "calls_per_second": 30.0,
        "calls": 900,
        "failed_calls": {},
        "latency_ms": LATENCY,
        "events": [{"second": 1.0, "server": 1, "event": "SIGTERM"}],
        "timeline": TIMELINE,
    },
}
SHORT_CALLS = {
    "short_calls": 400,
    "short_failures": [],
    "short_failed": 0,
    "unhealthy_looks": 0,
    "short_ms": {"p50": 5.0, "p99": 11.0},
}
WHOLE = {name: found | {"machine": MACHINE, "took_seconds": 3.0} for name, found in FIGURES.items()}


def kept(name):
    return {promise.text: promise.kept for promise in promises({name: FIGURES[name]})}


def test_every_section_is_told_with_its_plots(tmp_path):
    page.write(WHOLE, tmp_path)
    text = (tmp_path / "serving.md").read_text("utf-8")

    assert set(WHOLE) == set(SECTIONS)
    assert text.count("\n## ") == 1 + len(SECTIONS)
    for name in ("serving-swaps.svg", "serving-restart.svg"):
        assert f"![{name}]({name})" in text
        assert (tmp_path / name).stat().st_size > 1000
    assert "| steady state | – | – | 900 | 8 | 20 | 30 | 1 |" in text
    assert "| 1.0 | 1 | SIGTERM |" in text
    assert "| beside hopeless lists | 150 | 0.75 |" in text
    assert "| 10 × 8,192 | 400 | 0 | 5 | 11 | 0 | 7 answered, 1 OVERLOADED | 60 | 2 |" in text
    assert "99.5 % were refused" in text
    assert "| Rerank together | 900 | 8 | 20 | 30 | 2 OVERLOADED |" in text
    assert json.loads((tmp_path / "serving.json").read_text("utf-8")) == WHOLE


def test_a_section_that_failed_says_why_and_promises_nothing():
    failed = {"swaps": {"failed": "ServerFailed: no answer", "machine": MACHINE, "took_seconds": 1.0}}
    text = page.render(failed, {})

    assert "Could not be measured: ServerFailed: no answer" in text
    assert "What was promised" not in text


def test_swaps_are_held_to_failures_mixed_replies_latency_and_memory():
    assert kept("swaps") == {
        "swaps: failed calls": True,
        "swaps: mixed replies": True,
        "swaps of resident versions: p99 over steady state": True,
        "swaps: RSS after 50 over that after 5": False,
        "swaps: PSS after 50 over that after 5": True,
    }


def test_dead_tokens_are_counted_over_all_rounds():
    found = {promise.text: promise.measured for promise in promises({"overload": FIGURES["overload"]})}

    assert found["tokens for callers who had gone or expired, with deadlines, %"] == pytest.approx(0.2)
    assert found["tokens for callers who had gone or expired, where callers give up, too, %"] == pytest.approx(3)
    assert kept("overload")["3 × capacity: goodput over peak"]


def test_health_that_comes_back_late_and_short_calls_that_wait_break_their_promises():
    assert not kept("faults")["a forward is stuck: s until it is back"]
    assert kept("faults")["a forward is stuck: s until health turns"]
    assert not kept("mixed")["short calls beside mixed stream: p99 over that alone"]
    assert kept("mixed")["mixed lengths, stream: padding, %"]


def test_hostile_texts_may_take_time_from_others_but_no_answers():
    assert kept("hostile") == {
        "short calls beside hostile texts: p99 over that alone": True,
        "short calls beside hostile texts: failed": False,
        "hostile texts: times that health turned": True,
    }


def test_a_call_that_fails_beside_a_reranker_breaks_its_promise():
    assert kept("rerank") == {"Rerank beside Encode, and swaps of the reranker: failed calls": False}


def test_a_poisoned_text_must_be_named():
    found = FIGURES["faults"]
    wrong = found | {"poison": found["poison"] | {"errors": [{"index": 3, "reason": "ENCODE_FAILED"}]}}
    [promise] = [each for each in promises({"faults": wrong}) if "poisoned" in each.text]

    assert not promise.kept
