"""Loads a job's folder, and prints a line after each shard: a process for tests to kill."""

import sys

from munjang.index.address import open_sink, parse_address
from munjang.index.job_folder import JobFolder
from munjang.index.load import load_job
from munjang.index.tables import Tables


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


folder, url = sys.argv[1:]
address = parse_address(url)
tables = Tables(open_sink(address), address.name)
report = load_job(JobFolder(folder), tables, progress=lambda done, _: say(done))
say(f"end {report.shards_loaded}")
tables.sink.close()
