"""`munjang health` as probes use it: exit status 0 only while the server serves."""

from tests.ports import free_port


def test_a_server_that_serves_is_healthy(run, target):
    done = run("health", "--target", target)
    assert (done.status, done.out.strip()) == (0, "serving")


def test_the_address_comes_from_the_environment(run, target, monkeypatch):
    monkeypatch.setenv("MUNJANG_TARGET", target)
    assert run("health").status == 0


def test_nobody_there_is_not_healthy(run):
    done = run("health", "--target", f"127.0.0.1:{free_port()}", "--timeout", "0.5")
    assert done.status == 1
    assert "was ready within 0.5 s" in done.err
