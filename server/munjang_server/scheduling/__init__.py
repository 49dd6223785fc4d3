"""Scheduling: which texts run next, with whom, and on how much of the device. `scheduler` puts the parts together.

api             what servicers and metrics see
latency_model   seconds of a forward, and how large a batch may be
request         one admitted request, the batches that carry it, its answer
fair_queue      fairness among callers, how a batch is filled
request_queue   two lanes, and what each runner takes next
admission       what is refused at once
batch_executor  a forward and what its failure means
runner_pool     the threads
health          whether the engine works
watchdog        stuck forwards, idle probes, abandoned work
"""

from munjang_server.scheduling.api import Encoded, Lane, Load, Observer, Work
from munjang_server.scheduling.scheduler import Scheduler

__all__ = ["Encoded", "Lane", "Load", "Observer", "Scheduler", "Work"]
