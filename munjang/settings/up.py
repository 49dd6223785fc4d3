"""Settings: how `munjang up` runs server, worker and Valkey together on one machine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from munjang.settings.client import ClientSettings
from munjang.settings.kinds import Seconds
from munjang.settings.server import ServerSettings
from munjang.settings.worker import WorkerSettings


class UpSettings(ServerSettings, WorkerSettings, ClientSettings):
    """How `munjang up` runs server, worker and Valkey together on one machine."""

    redis_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0,
        description="The port of the Valkey that `munjang up` starts; 0 takes a free one at each start. Set it where "
        "other programs shall find the queue without being told.",
    )
    start_seconds: Seconds = Field(
        default=300.0,
        description="How long everything may take to be ready, the first model's conversion aside. Raise it for large "
        "models on slow disks.",
    )
