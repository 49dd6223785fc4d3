"""The compose file's Prometheus as a plain process: it scrapes both programs, loads the alerts, feeds the dashboard.

Its arguments are the file's, and so is its configuration, but for how it finds the programs: names that only compose's
own DNS knows become addresses of the loopback. Grafana itself is not run: no package that tests can install brings it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from munjang.client import Client
from tests.ports import free_port
from tests.warming import CACHE_VERSIONS

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
WAIT = 120


@pytest.fixture(scope="module")
def programs(tiny_registry, warm_cache, new_redis_of_module, tmp_path_factory):
    """A server and a worker with metrics pages: the ports of these, by the names that compose gives the programs."""
    folder = tmp_path_factory.mktemp("programs")
    ports = {"server": free_port(), "worker": free_port()}
    port = free_port()
    settings = {
        "HOME": folder,
        "CACHE": warm_cache,
        "CACHE_VERSIONS": CACHE_VERSIONS,
        "REGISTRY": tiny_registry.url,
        "REDIS_URL": new_redis_of_module,
        "PORT": port,
        "METRICS_PORT": ports["server"],
        "WORKER_METRICS_PORT": ports["worker"],
    }
    environment = os.environ | {f"MUNJANG_{name}": str(value) for name, value in settings.items()}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", f"munjang_{name}"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in ports
    ]
    try:
        with Client(f"127.0.0.1:{port}") as client:
            client.wait_ready(WAIT)
            client.encode(["비가 온다."])
        yield ports
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)


@pytest.fixture(scope="module")
def new_redis_of_module(any_redis_binary, tmp_path_factory, make_redis):
    """The URL of a queue for this module."""
    server = make_redis(any_redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture(scope="module")
def prometheus(programs, tmp_path_factory):
    """The address of a running Prometheus that has scraped both programs."""
    binary = shutil.which("prometheus")
    if binary is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no Prometheus: install it")
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    for job in config["scrape_configs"]:
        (found,) = job.pop("dns_sd_configs")
        (name,) = found["names"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{programs[name]}"]}]
    config["global"] |= {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / Path(each).name) for each in config["rule_files"]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    services = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    arguments = [
        each.replace("/etc/prometheus", str(folder)).replace("=/prometheus", f"={folder / 'data'}")
        for each in services["prometheus"]["command"]
    ]
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        limit = time.monotonic() + WAIT
        while not up(address) >= 2:
            assert process.poll() is None, (folder / "log").read_text("utf-8")
            assert time.monotonic() < limit, (folder / "log").read_text("utf-8")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        assert process.wait(60) == 0


def ask(address, path, **parameters):
    """The data that Prometheus answers with."""
    with urlopen(f"{address}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as reply:  # noqa: S310 - our own process
        found = json.load(reply)
    assert found["status"] == "success", found
    return found["data"]


def up(address):
    """How many programs were scraped in full."""
    try:
        return len(ask(address, "query", query="up == 1")["result"])
    except OSError:
        return 0


def queries():
    """Every query of the dashboard, with Grafana's variables filled in."""

    def visit(node):
        if isinstance(node, dict):
            yield from (value for key, value in node.items() if key == "expr")
            for value in node.values():
                yield from visit(value)
        elif isinstance(node, list):
            for value in node:
                yield from visit(value)

    dashboard = json.loads((DEPLOY / "grafana" / "munjang.json").read_text("utf-8"))
    filled = {re.sub(r"\$__rate_interval|\$__range", "1m", query) for query in visit(dashboard)}
    return sorted(re.sub(r"\$\{?\w+\}?", ".*", query) for query in filled)


def test_both_programs_are_scraped_under_the_names_of_their_jobs(prometheus):
    found = {each["metric"]["job"] for each in ask(prometheus, "query", query="up == 1")["result"]}
    assert found == {"munjang-server", "munjang-worker"}
    (ready,) = ask(prometheus, "query", query="munjang_server_ready")["result"]
    assert ready["value"][1] == "1"


def test_every_rule_is_evaluated_without_an_error_and_none_fires_on_a_healthy_stack(prometheus):
    limit = time.monotonic() + WAIT
    while True:
        rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
        if rules and all(rule["health"] != "unknown" for rule in rules):
            break
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert len(rules) > 15
    assert [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def test_every_query_of_the_dashboard_is_one_that_prometheus_answers(prometheus):
    asked = queries()
    assert len(asked) > 30
    for query in asked:
        ask(prometheus, "query", query=query)
    instant = [query for query in asked if not re.search(r"\b(rate|increase)\(| [<>=]=? |\band\b", query)]
    assert len(instant) > 10
    empty = [query for query in instant if not ask(prometheus, "query", query=query)["result"]]
    assert empty == []
