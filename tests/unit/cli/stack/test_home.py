import os

import pytest

from munjang.cli.stack.plan import Home
from munjang.errors import ConfigurationError


def test_a_home_is_used_by_one_at_a_time_and_says_by_whom(tmp_path):
    home = Home(tmp_path / "집")
    with home.claimed():
        home.note("127.0.0.1:50051")
        with pytest.raises(ConfigurationError, match=rf"process {os.getpid()}, at 127.0.0.1:50051"), home.claimed():
            pass
    with home.claimed():
        assert home.redis.is_dir()


def test_a_home_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "파일").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"), Home(tmp_path / "파일" / "집").claimed():
        pass


def test_the_last_log_is_kept(tmp_path):
    home = Home(tmp_path)
    with home.claimed():
        home.log("server").write_text("먼저")
        assert home.log("server").read_text() == ""
        assert (home.logs / "server.log.1").read_text() == "먼저"
