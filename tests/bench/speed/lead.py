"""How the page begins for those who read no tables: three sentences, and the figures of one bar chart."""

from __future__ import annotations

from typing import Any

CALLERS = 64
CEILING = "nothing (client and gRPC alone)"


def bars(served: dict[str, Any]) -> dict[str, float]:
    """Sentences a second for CALLERS callers of one sentence a call, the fastest server first; empty if unmeasured."""
    case = _case(served)
    rows = case["servers"].items() if case else ()
    rates = {name: row["texts_per_second"]["median"] for name, row in rows if "p50" in row and name != CEILING}
    return dict(sorted(rates.items(), key=lambda each: -each[1]))


def sentences(figures: dict[str, Any]) -> str:
    """Three sentences about what was measured through a server; empty if that was not."""
    served = figures.get("served", {"failed": ""})
    rates = {} if "failed" in served else bars(served)
    if "munjang" not in rates or len(rates) < 2:
        return ""
    row = _case(served)["servers"]["munjang"]
    best = next(name for name in rates if name != "munjang")
    return (
        f"On {served['machine']['cores']} processor cores, munjang answers {rates['munjang']:,.0f} sentences a second "
        f"to {CALLERS} callers, each of whom sends one sentence and waits for its vector. "
        f"The best other server here, {best}, answers {rates[best]:,.0f} on the same machine. "
        "With munjang, half of the callers have their vector within "
        f"{row['p50']['median']:,.0f} ms, and 99 of 100 within {row['p99']['median']:,.0f} ms."
    )


def _case(served: dict[str, Any]) -> Any:
    return next((case for case in served["cases"] if (case["callers"], case["batch"]) == (CALLERS, 1)), None)
