"""The only reader of the environment: every setting of every program, each documented by why you would change it.

A setting `registry` is read from MUNJANG_REGISTRY. Programs make their settings object once, at their start, and pass
it on; nothing else in the code looks at the environment.

One class a file: shared · engine · batching · server · client · worker · up · trainer; kinds has the ranges.
"""

from munjang.settings.batching import BatchSettings
from munjang.settings.client import ClientSettings
from munjang.settings.engine import EngineSettings
from munjang.settings.server import ServerSettings
from munjang.settings.shared import Settings
from munjang.settings.trainer import TrainerSettings
from munjang.settings.up import UpSettings
from munjang.settings.worker import WorkerSettings

__all__ = [
    "BatchSettings",
    "ClientSettings",
    "EngineSettings",
    "ServerSettings",
    "Settings",
    "TrainerSettings",
    "UpSettings",
    "WorkerSettings",
]
