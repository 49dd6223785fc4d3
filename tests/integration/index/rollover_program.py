"""Rolls an index over to another version, and prints a line after each step: a process for tests to kill."""

import importlib.util
import sys
from pathlib import Path

from munjang.index.address import open_sink, parse_address
from munjang.index.rollover import Rollover
from munjang.index.tables import Tables
from munjang.registry import Registry

spec = importlib.util.spec_from_file_location("index_conftest", Path(__file__).with_name("conftest.py"))
conftest = importlib.util.module_from_spec(spec)
sys.modules["index_conftest"] = conftest
spec.loader.exec_module(conftest)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


url, registry_url, version = sys.argv[1:]
address = parse_address(url)
tables = Tables(open_sink(address), address.name)
registry = Registry(registry_url)
rollover = Rollover(tables, conftest.FakeModels(registry=registry), registry, say=say)
rollover.prepare(version)
rollover.switch(version)
say("end")
tables.sink.close()
