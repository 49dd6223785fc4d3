"""Numbers of seconds on the command line: each means something or is refused in one line."""

from __future__ import annotations

import pytest

from munjang.cli.main import main


@pytest.mark.parametrize("command", [["encode", "글"], ["similarity", "글"], ["health"], ["jobs", "list"], ["bench"]])
@pytest.mark.parametrize("timeout", ["nan", "-1", "-inf"])
def test_a_timeout_that_is_none_is_refused(command, timeout, capsys):
    assert main([*command, "--target", "127.0.0.1:1", f"--timeout={timeout}"]) in {1, 2}
    err = capsys.readouterr().err
    assert "timeout" in err
    assert "Traceback" not in err
    assert "this should not have happened" not in err


@pytest.mark.parametrize("timeout", ["nan", "-1"])
def test_a_setting_that_is_no_timeout_is_named(timeout, capsys, monkeypatch):
    monkeypatch.setenv("MUNJANG_TIMEOUT", timeout)
    assert main(["encode", "글", "--target", "127.0.0.1:1"]) == 1
    assert "timeout" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("option", ["--duration", "--warmup"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_bench_without_an_end_is_wrong_usage(option, value, capsys):
    assert main(["bench", "--target", "127.0.0.1:1", option, value]) == 2
    assert option.removeprefix("--") in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1"])
def test_a_rate_that_is_none_is_wrong_usage(rate):
    assert main(["bench", "--target", "127.0.0.1:1", f"--rate={rate}"]) == 2
