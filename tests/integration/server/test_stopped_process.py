"""A process that is stopped in the middle of a forward, as by a sleeping laptop, goes on as if nothing had been."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

PROGRAM = """
import asyncio, sys
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.scheduling import Scheduler, Work

class Slow(FakeEncoder):
    def forward(self, batch, **options):
        if len(batch) == 2:
            print("running", flush=True)
            sys.stdin.readline()
        return super().forward(batch, **options)

class Lease:
    version, encoder = 1, Slow()
    def share(self): return self
    def release(self): pass
    def __enter__(self): return self
    def __exit__(self, *exc_info): pass

async def main():
    health = []
    settings = BatchSettings(stall_seconds=1.5)
    scheduler = Scheduler(settings, lambda name: Lease(), None, lambda *event: health.append(event))
    scheduler.start()
    answer = await scheduler.encode(Work(Lease(), Lease.encoder.tokenize(["하나", "둘"])))
    print(answer.rows.shape, health, scheduler.healthy, flush=True)
    scheduler.close()

asyncio.run(main())
"""


def test_a_process_stopped_during_a_forward_is_not_taken_as_stuck():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(3)  # twice what a stuck forward is given
            process.send_signal(signal.SIGCONT)
            answer, _ = process.communicate("\n", timeout=60)
        finally:
            process.kill()

    assert answer == "(2, 8) [] True\n"
    assert process.returncode == 0
