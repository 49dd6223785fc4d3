"""The text of each section of the page, by the section's name: figures in, Markdown out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.speed.promises import Promise

DASH = "–"

ENCODE_INTRO = """Operations are counted (2 a multiply-add, padding left out); the peak is the fastest product of the
same format by torch or OpenVINO in the same round. The floor is the time that all operations at the highest peak, or
the weights read once at memory speed, would take; int8 is held against float32's peak."""

SERVED_INTRO = """Each caller waits for its answer before it asks again; the client runs on the same cores, in a
process of its own that is the same program for all. `client` is the processor time that it takes a call, and the server
that does nothing shows what client and gRPC can do at most. `munjang in process` is our encoder on the same sentences
without a server."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(found: dict[str, Any], scale: float = 1.0) -> str:
    """A median, and its spread where there was more than one round: `123 [110–130]`."""
    middle, low, high = (number(scale * found[name]) for name in ("median", "low", "high"))
    return middle if len(found["rounds"]) == 1 else f"{middle} [{low}–{high}]"


def number(value: float) -> str:
    """Three digits that matter, thousands with commas."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def promised(lines: Iterable[Promise]) -> str:
    """What was promised, and whether it was kept."""
    rows = [
        [
            line.text,
            f"{'≤' if line.most else '≥'} {number(line.limit)}",
            number(line.measured),
            "yes" if line.kept else "**no**",
        ]
        for line in lines
    ]
    return table(("", "promised", "measured", "kept"), rows) if rows else ""


def encode(found: dict[str, Any]) -> str:
    """Rates of whole lists."""
    parts = [ENCODE_INTRO]
    for name, part in found["sets"].items():
        parts.append(f"### {name}: {part['texts']} texts of {part['tokens']:.1f} tokens on average")
        parts.append(table(_ENCODE_HEAD, [_encode_row(way, row) for way, row in part["rates"].items()]))
        peaks = ", ".join(f"{way.removeprefix('peak: ')} {figure(row, 1e-9)}" for way, row in part["peaks"].items())
        parts.append(f"Peaks in Gop/s: {peaks}. {_floor(found, part)}")
    return "\n\n".join([*parts, _missing(found["missing"])])


def minilm(found: dict[str, Any]) -> str:
    """Rates of the first measurements' model."""
    return found.get("skipped") or encode(found)


def decoder(found: dict[str, Any]) -> str:
    """Rates of a decoder by runtime."""
    rows = [
        [way, figure(row), f"{row['times_torch']:.2f}", f"{row['worst_cosine']:.5f}"]
        for way, row in found["rates"].items()
    ]
    intro = f"{found['texts']} texts of {found['tokens']:.1f} tokens on average, as a worker encodes a list."
    return "\n\n".join([intro, table(("", "texts/s", "× torch bfloat16", "worst cosine to float32"), rows)])


def quality(found: dict[str, Any]) -> str:
    """Cosines and correlations by number format."""
    keys = ("worst_cosine", "mean_cosine", "spearman")
    rows = [
        [kind, *(f"{row[key]:.5f}" if key in row else DASH for key in keys)] for kind, row in found["formats"].items()
    ]
    head = ("", "worst cosine to float32", "mean cosine", "KorSTS dev, Spearman")
    return "\n\n".join([table(head, rows), _missing(found.get("missing", {}))])


_ENCODE_HEAD = ("", "sentences/s", "× default", "× the bar", "Gop/s", "of the peak", "worst cosine")


def _encode_row(way: str, row: dict[str, Any]) -> list[str]:
    return [
        way,
        figure(row),
        f"{row['times_default']:.2f}",
        f"{row['times_bar']:.2f}",
        number(row["gops"]),
        f"{row['share_of_peak']:.0%}",
        f"{row['worst_cosine']:.5f}",
    ]


def _floor(found: dict[str, Any], part: dict[str, Any]) -> str:
    peak = max(row["median"] for row in part["peaks"].values())
    floor = max(part["operations"] / peak, part["weight_bytes"] / found["bandwidth"])
    best = max(row["median"] for row in part["rates"].values())
    return f"Floor {number(1000 * floor)} ms, fastest measured {number(1000 * part['texts'] / best)} ms."


def served(found: dict[str, Any]) -> str:
    """Rates and latencies of servers."""
    parts = [SERVED_INTRO]
    cosines = ", ".join(f"{name} {value:.5f}" for name, value in found["cosine"].items())
    parts.append(f"Worst cosine of the answers to float32: {cosines}.")
    for case in found["cases"]:
        callers, batch = case["callers"], case["batch"]
        parts.append(f"### {callers} caller{'s' * (callers > 1)}, {batch} sentence{'s' * (batch > 1)} a call")
        parts.append(table(_SERVED_HEAD, [_served_row(name, row) for name, row in case["servers"].items()]))
    return "\n\n".join([*parts, _missing(found["missing"])])


_SERVED_HEAD = ("", "sentences/s", "munjang is ×", "p50 ms", "p95 ms", "p99 ms", "client ms a call", "failed")


def _served_row(name: str, row: dict[str, Any]) -> list[str]:
    keys = ("p50", "p95", "p99", "client_cpu_ms", "failed")
    rest = [figure(row[key]) if key in row else DASH for key in keys]
    return [name, figure(row["texts_per_second"]), f"{row['munjang_is_times']:.2f}", *rest]


def overhead(found: dict[str, Any]) -> str:
    """Where the time of one call goes."""
    rows = [[name, figure(times)] for name, times in found["parts_ms"].items()]
    rows += [["a call over the bare forward", figure(found["over_forward_ms"])]]
    rows += [["hand-offs and batching: the rest", figure(found["rest_ms"])]]
    about = (
        "One caller, one sentence a call, blocks of each in turn. `gRPC alone` is a server that does nothing but wait "
        "as long as a forward takes, less that wait; `from call to call` is without it."
    )
    return f"{about}\n\n{table(('', 'ms'), rows)}"


def wire(found: dict[str, Any]) -> str:
    """Bytes against floats."""
    rows = [[name, figure(row), str(found["bit_exact"][name])] for name, row in found["milliseconds"].items()]
    shape = " × ".join(map(str, found["shape"]))
    text = f"{shape} float32 to bytes and back to an array: packed bytes are {found['times_faster']:.0f} × faster."
    return text + "\n\n" + table(("", "ms", "bit-exact"), rows)


def bulk(found: dict[str, Any]) -> str:
    """A file."""
    rows = [
        ["the file: submitted, planned, embedded, written, verified", figure(found["rows_per_second"])],
        [f"our encoder in process, blocks of {found['block_rows']:,} texts", figure(found["in_blocks_per_second"])],
        ["our encoder in process, all texts at once", figure(found["in_process_per_second"])],
    ]
    return (
        f"{found['rows']:,} rows of JSON Lines to Parquet through the queue and one worker in "
        f"{figure(found['seconds'])} s, of which {figure(found['seconds_beside_shards'])} s before, between and after "
        f"its shards: {found['share_of_blocks']:.0%} of our encoder's speed in process on the blocks that a worker "
        f"plans, {found['share_of_in_process']:.0%} of its speed on all texts planned at once.\n\n"
        + table(("", "rows/s"), rows)
    )


def startup(found: dict[str, Any]) -> str:
    """Seconds and bytes."""
    rows = [
        ["first start on a machine (the export is made), s", figure(found["first_start_seconds"])],
        ["start from a ready registry and export, s", figure(found["ready_start_seconds"])],
        ["memory at rest, MB", figure(found["memory_bytes"], 1e-6)],
        ["weights on disk, MB", number(found["weights_bytes"] / 1e6)],
        ["promised: 1.5 × weights + 300 MB", number(found["memory_limit_bytes"] / 1e6)],
        *([f"import {name}, s", figure(times)] for name, times in found["import_seconds"].items()),
    ]
    text = "From the start of the process to its first Encode answer. Memory is resident, shared pages counted once."
    return text + "\n\n" + table(("", ""), rows)


def linear(found: dict[str, Any]) -> str:
    """Exponents."""
    names = {
        "texts": "texts, the model",
        "texts_tiny_model": "texts, a model of two tiny layers (our own code's share, which the real one hides)",
        "tokens": "tokens of a text, the model",
    }
    rows = [
        [
            title,
            ", ".join(
                f"{size:,}: {number(seconds)}" for size, seconds in zip(part["sizes"], part["seconds"], strict=True)
            ),
            f"{part['exponent']:.2f}",
        ]
        for name, title in names.items()
        for part in [found[name]]
    ]
    return "An exponent of 1 is linear.\n\n" + table(("seconds by number of", "", "exponent"), rows)


def gpu(found: dict[str, Any]) -> str:
    """What the GPU script found."""
    if "skipped" in found:
        return found["skipped"]
    rows = [[name, figure(row)] for name, row in found["rates"].items()]
    share = f"{found['share_of_peak']:.0%}"
    text = (
        f"{found['device']}, random weights of {found['shape']}; {share} of the measured matrix peak at 128 tokens; "
        f"worst cosine to float32 {found['worst_cosine']:.5f}."
    )
    return text + "\n\n" + table(("", ""), rows)


def _missing(missing: dict[str, str]) -> str:
    return "\n".join(f"- Not measured: {name}: {reason.replace('|', '/')}" for name, reason in missing.items())
