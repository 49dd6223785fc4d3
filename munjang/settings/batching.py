"""Settings: how the server forms batches, admits work and watches its engine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from munjang.settings.engine import EngineSettings
from munjang.settings.kinds import Seconds, Share


class BatchSettings(EngineSettings):
    """How the server forms batches, admits work and watches its engine."""

    queue_tokens: Annotated[int, Field(ge=2)] = Field(
        default=262_144,
        description="The most tokens that wait for a forward; past it calls are refused with RESOURCE_EXHAUSTED. One "
        "caller may hold at most as many as are still free, so half of them if alone. Lower it to refuse sooner.",
    )
    bulk_share: Share = Field(
        default=0.2,
        description="The share of the engine that streams and large batches keep while interactive calls take all they "
        "can get. Raise it where bulk work falls behind.",
    )
    interactive_seconds: Seconds = Field(
        default=0.25,
        description="A call whose forwards are expected to take longer than this waits in the bulk lane, with streams, "
        "so that short calls pass it. Raise it where long texts are what people wait for.",
    )
    bulk_turn_seconds: Seconds = Field(
        default=0.008,
        description="How long one bulk batch may run while interactive calls are about, where only one forward can run "
        "at a time: the most that they wait for it. Raise it for more bulk throughput, lower it for interactive latency.",
    )
    bulk_yield_seconds: Annotated[float, Field(ge=0)] = Field(
        default=30.0,
        description="For how long after the last interactive call one stream stays free for the next, or bulk batches "
        "short. Raise it where interactive calls are rare and must be fast.",
    )
    probe_seconds: Seconds = Field(
        default=1.0,
        description="How often an idle or failing engine is tried with a forward of one short text. Raise it to let a "
        "battery or a shared GPU sleep.",
    )
    stall_seconds: Seconds = Field(
        default=3.0,
        description="A forward that takes longer than this and four times longer than expected, and makes no progress, "
        "is taken as stuck: health turns and callers are answered. Raise it on machines that pause.",
    )
