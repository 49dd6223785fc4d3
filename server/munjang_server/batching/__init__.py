"""Texts of many callers share forwards: admission, lanes, fairness, fault isolation, watchdog. Knows no transport."""

from __future__ import annotations

from munjang_server.batching.batcher import Batcher
from munjang_server.batching.contract import BatcherContract, Encoded, Lane, Load, Work
from munjang_server.batching.observer import BatchSeen, Observer

__all__ = ["BatchSeen", "Batcher", "BatcherContract", "Encoded", "Lane", "Load", "Observer", "Work"]
