import socket

import pytest

from munjang.bulk import EMBED_FILE
from munjang.cli.programs import installed
from munjang.cli.stack.plan import Home, make_plan
from munjang.cli.up import ready_message
from munjang.errors import ConfigurationError
from munjang.settings import UpSettings


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_every_program_is_told_the_same_addresses(home):
    plan = make_plan(UpSettings(), home, "0.0.0.0", 0, worker=True)
    told = plan.environment()
    assert told["MUNJANG_REGISTRY"] == str(home.folder / "registry")
    assert told["MUNJANG_REDIS_URL"] == f"redis://127.0.0.1:{plan.redis_port}/0"
    assert told["MUNJANG_PORT"] == str(plan.port) != "0"
    assert plan.target == f"127.0.0.1:{plan.port}"
    ports = {plan.port, plan.redis_port, plan.metrics[1], plan.worker_metrics[1]}
    assert len(ports) == 4


def test_a_redis_of_ones_own_is_used(home):
    plan = make_plan(UpSettings(redis_url="rediss://queue.example/1"), home, "127.0.0.1", 0, worker=True)
    assert (plan.redis_port, plan.redis_url) == (0, "rediss://queue.example/1")


def test_fixed_ports_are_kept_and_a_taken_one_refused(home):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match="in use"):
            make_plan(UpSettings(), home, "127.0.0.1", taken, worker=False)
        with pytest.raises(ConfigurationError, match="in use"):
            make_plan(UpSettings(redis_port=taken), home, "127.0.0.1", 0, worker=False)
    assert make_plan(UpSettings(metrics_port=12345), home, "127.0.0.1", 0, worker=False).metrics[1] == 12345


def test_what_is_not_installed_is_not_started():
    assert installed("munjang_server")
    assert not installed("no_such_program")


def test_the_message_has_what_a_person_needs(home):
    plan = make_plan(UpSettings(), home, "127.0.0.1", 0, worker=True)
    shown = ready_message(plan).plain
    for needed in (
        'munjang similarity "밀짚모자를 쓴 남자가 드럼을 쳤다."',
        f"--target {plan.target}",
        "from munjang.client import Client",
        f"rq enqueue --url {plan.redis_url} --queue munjang {EMBED_FILE} INPUT OUTPUT   # absolute paths",
        f"http://127.0.0.1:{plan.metrics[1]}/metrics",
        str(home.logs),
    ):
        assert needed in shown


def test_the_http_port_is_told_shown_and_refused_where_it_is_taken(home):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=r"--http-port \(0 serves gRPC only\)"):
            make_plan(UpSettings(), home, "127.0.0.1", 0, http_port=taken, worker=False)
    plan = make_plan(UpSettings(), home, "0.0.0.0", 0, http_port=taken, worker=False)
    assert plan.environment()["MUNJANG_HTTP_PORT"] == str(taken)
    assert f"curl http://127.0.0.1:{taken}/v1/embeddings" in ready_message(plan).plain
    assert "curl" not in ready_message(make_plan(UpSettings(), home, "127.0.0.1", 0, worker=False)).plain
