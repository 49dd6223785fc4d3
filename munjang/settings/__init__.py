"""The only reader of the environment: every setting of every program, each documented by why you would change it.

A setting `registry` is read from MUNJANG_REGISTRY. Programs make their settings object once, at their start, and pass
it on; nothing else in the code looks at the environment.
"""

from munjang.settings.programs import (
    BatchSettings,
    ClientSettings,
    ServerSettings,
    TrainerSettings,
    UpSettings,
    WorkerSettings,
    unknown_variables,
)
from munjang.settings.shared import EngineSettings, Settings

__all__ = [
    "BatchSettings",
    "ClientSettings",
    "EngineSettings",
    "ServerSettings",
    "Settings",
    "TrainerSettings",
    "UpSettings",
    "WorkerSettings",
    "unknown_variables",
]
