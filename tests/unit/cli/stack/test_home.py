import os

import pytest

from munjang.cli.running import Running
from munjang.cli.stack.plan import Home
from munjang.errors import ConfigurationError
from munjang.output_file import FolderTaken


def test_a_home_is_used_by_one_at_a_time_and_says_by_whom(tmp_path):
    home = Home(tmp_path / "집")
    running = Running(os.getpid(), str(home.folder), "127.0.0.1:50051", "memory://r")
    taken = pytest.raises(ConfigurationError, match=rf"process {os.getpid()}, at 127.0.0.1:50051")
    with home.claimed(), running.noted([home.folder]), taken, home.claimed():
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


@pytest.mark.parametrize("found", ["logs/server.log", "redis/dump.rdb", "up.json", "src/main.py", ".git/HEAD"])
def test_a_folder_of_somebody_else_is_no_home_and_stays_as_it_is(tmp_path, found):
    (tmp_path / found).parent.mkdir(exist_ok=True)
    (tmp_path / found).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FolderTaken, match="--home"), Home(tmp_path).claimed():
        pass
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / found).read_text() == "mine"


def test_a_home_that_other_programs_of_ours_began_is_taken(tmp_path):
    for name in ("registry", "cache", "runs", "running.json", "lost+found"):
        (tmp_path / name).mkdir()
    with Home(tmp_path).claimed():
        assert (tmp_path / "logs").is_dir()


def test_what_a_killed_program_left_in_the_temporary_folder_is_deleted_at_the_next_start_and_at_the_end(tmp_path):
    home = Home(tmp_path)
    with home.claimed():
        home.scratch.mkdir()
        (home.scratch / "model.safetensors").touch()
    assert not home.scratch.exists()
    home.scratch.mkdir()
    with home.claimed():
        assert not home.scratch.exists()
