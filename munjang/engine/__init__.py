"""The resident versions: load, verify, probe, warm, swap, drain, unload. Knows no transport."""

from munjang.engine.contract import AliasStatus, EngineContract, Lease, VersionState, VersionStatus
from munjang.engine.engine import Engine, EngineObserver

__all__ = ["AliasStatus", "Engine", "EngineContract", "EngineObserver", "Lease", "VersionState", "VersionStatus"]
