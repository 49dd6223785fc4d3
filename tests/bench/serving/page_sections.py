"""The text of each section of the page, by the section's name: figures in, Markdown out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.speed.page_sections import DASH, figure, number, table

if TYPE_CHECKING:
    from collections.abc import Mapping

MB = 1e-6


def swaps(found: dict[str, Any]) -> str:
    """Both servers."""
    return "\n\n".join(
        [
            (
                "One server keeps the previous version in memory, as by default: its first swap is to a version that "
                "it has never seen, which is converted for this processor, checked and warmed under load. The other "
                "does not, so every swap loads one and unloads the other. Calls of one text come at random moments, "
                "three tenths of what the server answers at most. A swap lasts from the change in the registry (looked "
                f"at every {found['watch_seconds']:g} s) to half a second after the first reply of the new version; "
                "all else is steady state. The vectors of every reply were held against those of the version that it "
                f"names; the versions' own are no more alike than a cosine of {found['alike']:.3f}."
            ),
            "### The previous version is kept",
            _swapped(found["resident"]),
            "### Every swap loads",
            _swapped(found["loading"]),
        ]
    )


def _swapped(run: dict[str, Any]) -> str:
    names = {"fresh": "the first swap, to a fresh version", "swap": "swaps"}
    rows = [["steady state", DASH, DASH, *_latency(run["steady_ms"]), "1"]]
    rows += [
        [
            names[kind],
            str(part["swaps"]),
            number(part["seconds"]),
            *_latency(part["latency_ms"]),
            f"{run['p99_over_steady'][kind]:.2f}",
        ]
        for kind, part in run["kinds"].items()
    ]
    head = ("", "swaps", "s until it answers", "calls", "p50 ms", "p99 ms", "max ms", "p99 over steady")
    memory = "; ".join(
        f"after swap {mark}: RSS {number(MB * part['rss'])} MB, PSS {number(MB * part['pss'])} MB"
        for mark, part in run["memory"].items()
    )
    ended = f"{run['calls']:,} calls, {number(run['calls_per_second'])} a second"
    return f"{table(head, rows)}\n\n{ended}; failed: {_counts(run['failed'])}; mixed: {run['mixed']}. Memory {memory}."


def overload(found: dict[str, Any]) -> str:
    """Both floods."""
    names = {"patient": "all wait", "leaving": f"{100 * found['leaving_share']:.0f} % give up"}
    rows = [
        [
            names[name],
            number(flood["calls_per_second"]),
            number(flood["texts_per_second"]),
            f"{100 * flood['refused_share']:.1f} %",
            f"{number(flood['refused_ms']['p50'])} / {number(flood['refused_ms']['p99'])}",
            f"{number(flood['admitted_ms']['p50'])} / {number(flood['admitted_ms']['p99'])}",
            f"{100 * flood['expired_of_admitted']:.2f} %",
            f"{100 * flood['tokens']['dead_share']:.2f} %",
            _counts(flood["failed"]),
        ]
        for name, floods in found["floods"].items()
        for flood in floods
    ]
    head = (
        "callers",
        "calls/s",
        "texts/s in time",
        "refused",
        "refused after, p50 / p99 ms",
        "admitted, p50 / p99 ms",
        "expired of admitted",
        "dead tokens",
        "failed",
    )
    over = ", ".join(f"{names[name]}: {100 * share:.0f} %" for name, share in found["goodput_over_peak"].items())
    return "\n\n".join(
        [
            (
                f"Calls of {found['batch']} texts, each with a deadline of {found['deadline_ms']:g} ms, at random "
                f"moments, {found['times']:g} times as many as are answered at most. Admitted calls are all that were "
                "neither refused nor given up; an expired one counts with its deadline. Dead tokens were in a forward "
                "at whose end their caller had gone or expired."
            ),
            table(head, rows),
            (
                f"At most {figure(found['peak_texts_per_second'])} texts/s are answered; of that in a flood: {over}. "
                f"Resident memory {_memory(found['memory'])}."
            ),
        ]
    )


def hopeless(found: dict[str, Any]) -> str:
    """What hopeless lists take from others."""
    rows = [
        [name, figure(found["texts_per_second"][name]), f"{over:.2f}"] for name, over in found["over_alone"].items()
    ]
    return "\n\n".join(
        [
            (
                f"{found['callers']} callers of one text, alone and beside {number(found['rate'])} lists of "
                f"{found['batch']:,} texts a second at random moments. Refused lists ask for an alias that there is "
                f"not, which is what a refusal and the client on the same cores take at least; hopeless ones have a "
                f"deadline of {number(found['deadline_ms'])} ms."
            ),
            table(("", "answers a second", "over alone"), rows),
            f"Of the hopeless lists {100 * found['unreachable_share']:.1f} % were refused before their deadline.",
        ]
    )


def hostile(found: dict[str, Any]) -> str:
    """What hostile texts take from others."""
    rows = [
        [name, *_latency(part), f"{found['p99_over_alone'].get(name, 1):.2f}"]
        for name, part in found["latency_ms"].items()
    ]
    ended = found["hostile_ms"]
    return "\n\n".join(
        [
            (
                f"Short calls in an open loop, alone and beside a caller who sends {found['families']} kinds of texts "
                f"of {found['characters']:,} characters, one after the other: marks without an end, jamo, emoji, "
                "white space and others that cost a normaliser or a tokenizer the most."
            ),
            table(("", "calls", "p50 ms", "p99 ms", "max ms", "p99 over alone"), rows),
            (
                f"Failed: {_counts(found['failed_short'])}. Of the hostile texts {ended['calls']:,} were answered, in "
                f"{number(ended['p50'])} ms at the median; failed: {_counts(found['failed_hostile'])}. Health "
                f"{'turned' if found['health_turned'] else 'did not turn'}."
            ),
        ]
    )


def rerank(found: dict[str, Any]) -> str:
    """Calls of both kinds."""
    rows = [[name, *_latency(part), _counts(found["failures"][name])] for name, part in found["latency_ms"].items()]
    return "\n\n".join(
        [
            (
                f"{found['callers']} callers of Rerank, each with a query and {found['documents']} documents and its "
                f"next call as soon as it was answered, and {number(found['rate'])} calls of Encode a second at random "
                "moments, of one text each. The cross-encoder is as large as the starter model. While it swaps, the "
                f"alias rerank moves {found['swaps']} times, the first time to a version that must be converted."
            ),
            table(("", "calls", "p50 ms", "p99 ms", "max ms", "failed"), rows),
        ]
    )


def long(found: dict[str, Any]) -> str:
    """Short calls beside long texts, and how those ended."""
    parts = ["Eight callers of short sentences, each with a deadline of a second, all the while."]
    for name, shape in found["shapes"].items():
        rows = []
        for case, part in {"alone": shape["alone"], "swap": shape["swap"], **shape["beside"]}.items():
            ended = part["long"] or {}
            rows.append(
                [
                    case,
                    f"{part['short_calls']:,}",
                    f"{part['short_failed']:,}",
                    number(part["short_ms"]["p50"]),
                    number(part["short_ms"]["p99"]),
                    f"{part['unhealthy_looks']:,}",
                    ", ".join(f"{count} {outcome}" for outcome, count in ended.get("outcomes", {}).items()) or "–",
                    number(ended["last_seconds"]) if "last_seconds" in ended else "–",
                    f"{ended.get('left_by_their_callers', 0)}",
                ]
            )
        columns = ("", "short calls", "failed", "p50 ms", "p99 ms", "unhealthy", "long texts", "seconds", "left")
        parts += [f"A model {name}, random weights, 8,192 positions:", table(columns, rows)]
    return "\n\n".join(parts)


def mixed(found: dict[str, Any]) -> str:
    """Padding, and short calls beside streams."""
    padding = [
        [name, f"{part['real']:,.0f}", f"{part['computed']:,.0f}", f"{100 * part['padding']:.1f} %"]
        for name, part in found["padding"].items()
    ]
    beside = [
        [name, *_latency(part), f"{found['p99_over_alone'].get(name, 1):.2f}"]
        for name, part in found["latency_ms"].items()
    ]
    return "\n\n".join(
        [
            "Nine texts of ten are sentences, one is cut at the model's limit.",
            table(("load", "tokens", "computed", "padding"), padding),
            "Short calls in an open loop, alone and beside a stream of batches of 256 that keeps the server busy:",
            table(("", "calls", "p50 ms", "p99 ms", "max ms", "p99 over alone"), beside),
            f"Failed: {found['failed_calls']}.",
        ]
    )


def unary(found: dict[str, Any]) -> str:
    """The parts of one call."""
    rows = [[name, figure(part)] for name, part in found["parts_ms"].items()]
    return "\n\n".join(
        [
            (
                "Calls of one sentence, each after the answer to the one before. `gRPC alone` is the same call to a "
                "server that does nothing but wait as long as a forward takes, less that wait; `from call to call` is "
                "without it. The other parts are timed in process, turn and turn about with the calls."
            ),
            table(("", "ms"), rows),
            (
                f"Over the bare forward: {figure(found['over_forward_ms'])} ms, of which hand-offs and batching are "
                f"{figure(found['rest_ms'])} ms."
            ),
        ]
    )


def faults(found: dict[str, Any]) -> str:
    """Each fault, and the poisoned text."""
    rows = [
        [
            name,
            _seconds(fault, "not_serving_seconds"),
            _seconds(fault, "serving_again_seconds", "answer_again_seconds"),
            number(fault["longest_wait_seconds"]),
            _counts(fault["calls"]),
        ]
        for name, fault in found["faults"].items()
    ]
    poison = found["poison"]
    errors = ", ".join(f"{error['reason']} at {error['index']}" for error in poison["errors"])
    return "\n\n".join(
        [
            (
                f"Each fault lasts {found['hold_seconds']:g} s, while callers call on. `back` counts from its end: to "
                "health SERVING, or for the stopped process, whose callers wait 2 s at most, to its first answer."
            ),
            table(("fault", "s until NOT_SERVING", "s until back", "longest wait, s", "calls"), rows),
            (
                f"A call of {poison['texts']} texts, of which the model fails on number {poison['poisoned']}: "
                f"{poison['answered']} answered, errors: {errors or 'none'}; {poison['seconds']:.2f} s, without the "
                f"poison {poison['clean_seconds']:.2f} s."
            ),
        ]
    )


def stream(found: dict[str, Any]) -> str:
    """Memory of a long stream."""
    return (
        f"{found['texts']:,} texts in messages of {found['batch']}, sent as fast as gRPC takes them, read at "
        f"{number(found['slow_texts_per_second'])} texts/s (without a pause: {number(found['fast_texts_per_second'])}; "
        f"the model is one that answers at once). At most {found['most_unread_messages']} messages were sent and not "
        f"read, {found['failed_messages']} failed. Resident memory {_memory(found['memory'])}."
    )


def restart(found: dict[str, Any]) -> str:
    """The clock."""
    rows = [[f"{event['second']:.1f}", str(event["server"]), event["event"]] for event in found["events"]]
    calls = found["latency_ms"]
    return "\n\n".join(
        [
            (
                f"{found['servers']} servers of one thread each, restarted in turn; {found['calls']:,} calls of one "
                f"text, {number(found['calls_per_second'])} a second: p50 {number(calls['p50'])} ms, p99 "
                f"{number(calls['p99'])} ms, at most {number(calls['max'])} ms; failed: "
                f"{_counts(found['failed_calls'])}."
            ),
            table(("second", "server", ""), rows),
        ]
    )


def http(found: dict[str, Any]) -> str:
    """Both doors, and half-open connections."""
    rows = [
        [
            callers,
            *(figure(part["texts_per_second"][door]) for door in ("gRPC", "HTTP")),
            f"{part['speed_of_grpc']:.2f}",
            *(figure(part["p50"][door]) for door in ("gRPC", "HTTP")),
            figure(part["added_ms"]),
        ]
        for callers, part in found["callers"].items()
    ]
    head = ("callers", "gRPC texts/s", "HTTP texts/s", "HTTP over gRPC", "gRPC p50 ms", "HTTP p50 ms", "added ms")
    half = found["half_open"]
    return "\n\n".join(
        [
            "One text a call, in OpenAI's form with vectors in base64, and over gRPC, in turn on one server.",
            table(head, rows),
            (
                f"Eight callers over HTTP, p99: alone {figure(half['p99']['alone'])} ms, beside "
                f"{half['connections']:,} connections that sent half of a head {figure(half['p99']['beside'])} ms, "
                f"{half['p99_over_alone']:.2f} times."
            ),
        ]
    )


def _latency(part: dict[str, float]) -> list[str]:
    return [f"{part['calls']:,}", *(number(part[name]) if name in part else DASH for name in ("p50", "p99", "max"))]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"


def _memory(found: dict[str, int]) -> str:
    first, highest, last = (number(MB * found[name]) for name in ("first", "highest", "last"))
    return f"{first} MB before, {highest} MB at most, {last} MB after"


def _seconds(fault: dict[str, Any], *names: str) -> str:
    return next((number(fault[name]) for name in names if name in fault), DASH)
