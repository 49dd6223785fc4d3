"""What the compose file and the manifests describe starts, answers its own probes, does a job, and ends when asked."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest
import yaml

from munjang.client import Client
from munjang.testing_models import tiny_model

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
WAIT = 120
TEXTS = ["비가 온다.", "회의는 세 시에 시작합니다.", "남자가 드럼을 친다."]


def health_commands():
    """The health checks of the images, by program."""
    text = re.sub(r"\\\n", " ", (ROOT / "deploy/docker/Dockerfile").read_text("utf-8"))
    found = re.findall(r"HEALTHCHECK [^\n]* CMD (\[.*\])\n(ENTRYPOINT .*)", text)
    programs = [yaml.safe_load(entry.removeprefix("ENTRYPOINT "))[-1].removeprefix("munjang_") for _, entry in found]
    return dict(zip(programs, (yaml.safe_load(check) for check, _ in found), strict=True))


def healthy(stack, name, ports):
    """Run an image's health check, its ports those of this test; whether it succeeds."""
    command = [
        re.sub(r"\b(\d{4,5})\b", lambda port: str(ports.get(port[1], port[1])), word)
        for word in health_commands()[name]
    ]
    environment = stack.environment(name)
    if name == "server":
        environment["MUNJANG_TARGET"] = f"127.0.0.1:{environment['MUNJANG_PORT']}"
    done = subprocess.run(
        [BIN / command[0], *command[1:]], env=environment, capture_output=True, check=False, timeout=60
    )
    return done.returncode == 0


def until(stack, name, condition):
    """Wait for a condition while a process runs."""
    limit = time.monotonic() + WAIT
    while not condition():
        assert stack.processes[name].poll() is None, stack.log(name)
        assert time.monotonic() < limit, stack.log(name)
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_the_services_start_answer_their_probes_do_a_job_and_end(stack):
    stack.start_valkey()
    stack.start("server")  # waits for the first model
    stack.start("first-model", MUNJANG_MODEL=str(tiny_model(stack.folder / "model")))
    assert stack.processes["first-model"].wait(WAIT) == 0, stack.log("first-model")
    stack.start("worker")
    worker_ports = {"9465": stack.ports["MUNJANG_WORKER_METRICS_PORT"]}
    until(stack, "worker", lambda: "worker ready" in stack.log("worker"))
    assert healthy(stack, "worker", worker_ports)
    until(stack, "server", lambda: healthy(stack, "server", {}))

    for path in ("livez", "readyz"):
        with urlopen(f"http://127.0.0.1:{stack.ports['MUNJANG_METRICS_PORT']}/{path}", timeout=10) as page:
            assert page.status == 200
    with Client(f"127.0.0.1:{stack.ports['MUNJANG_PORT']}") as client:
        online = client.encode(TEXTS)
    with urlopen(f"http://127.0.0.1:{stack.ports['MUNJANG_METRICS_PORT']}/metrics", timeout=10) as page:
        shown = page.read().decode()
    assert "munjang_server_ready 1.0" in shown
    assert 'munjang_server_disk_free_bytes{place="registry"}' in shown
    assert 'munjang_queue_steps{state="waiting"} 0.0' in shown
    with urlopen(f"http://127.0.0.1:{worker_ports['9465']}/metrics", timeout=10) as page:
        shown = page.read().decode()
    assert 'munjang_worker_disk_free_bytes{place="output"}' in shown

    (stack.folder / "data").mkdir()
    rows = "id\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(TEXTS))
    (stack.folder / "data" / "texts.tsv").write_text(rows, encoding="utf-8")
    submit = [sys.executable, "-c", "from munjang.cli import run; run()", "jobs", "submit"]
    done = subprocess.run(
        [*submit, stack.folder / "data/texts.tsv", stack.folder / "data/out", "--wait"],
        env=stack.environment("worker"),
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT,
    )
    assert done.returncode == 0, done.stderr + stack.log("worker")
    (part,) = (stack.folder / "data/out").glob("part-*.parquet")
    table = pq.read_table(part)
    assert table.num_rows == len(TEXTS)
    assert table.schema.metadata[b"munjang.version"].decode() == str(online.version)

    for name in ("server", "worker"):
        stack.processes[name].send_signal(signal.SIGTERM)
        assert stack.processes[name].wait(WAIT) == 0, stack.log(name)
    stack.processes["valkey"].send_signal(signal.SIGTERM)
    assert stack.processes["valkey"].wait(WAIT) == 0
    assert list((stack.folder / "valkey" / "appendonlydir").iterdir())
