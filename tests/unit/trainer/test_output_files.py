"""What the trainer writes into and deletes from is its own: folders are claimed by a marker, or refused untouched."""

from __future__ import annotations

import os
import stat
import sys
import threading

import pytest

from munjang.output_file import FolderTaken
from munjang_trainer import cli
from munjang_trainer.data.prepare import prepare
from munjang_trainer.output_files import DATA_MARKER, RUN_MARKER, claim_output, write_atomically
from munjang_trainer.recipe.schema import DataConfig
from munjang_trainer.training.checkpoints import complete_checkpoints, remove_incomplete


@pytest.mark.parametrize("name", ["model", "start", "data", "recipe.yaml", ".hidden"])
def test_a_folder_that_holds_something_else_is_refused_and_stays_as_it_was(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("mine")
    with pytest.raises(FolderTaken, match="which munjang did not make: name an empty or a new folder"):
        claim_output(tmp_path, RUN_MARKER)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_empty_and_missing_folders_are_claimed_once_and_for_all(tmp_path):
    for folder in (tmp_path / "a" / "b", tmp_path / "a" / "b"):
        claim_output(folder, RUN_MARKER)
        (folder / "model").mkdir(exist_ok=True)


def test_a_run_may_begin_where_its_data_was_prepared(tmp_path):
    claim_output(tmp_path / "data", DATA_MARKER)
    claim_output(tmp_path, RUN_MARKER)


def test_a_new_file_system_counts_as_empty(tmp_path):
    (tmp_path / "lost+found").mkdir()
    claim_output(tmp_path, RUN_MARKER)


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderTaken, match="is not a folder"):
        claim_output(tmp_path / "file", RUN_MARKER)


def test_prepare_writes_no_table_over_a_strangers(tmp_path):
    (tmp_path / "sts.tsv").write_text("score\tsentence1\tsentence2\n5\t가\t나\n", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sts.parquet").write_text("mine")
    data = DataConfig.model_validate(
        {"folder": str(tmp_path), "sources": {"sts": {"kind": "sts", "files": ["sts.tsv"]}}}
    )
    with pytest.raises(FolderTaken):
        prepare(data, 42, tmp_path / "out")
    assert (tmp_path / "out" / "sts.parquet").read_text() == "mine"


def test_the_command_ends_with_status_2_before_any_work(tmp_path, monkeypatch, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious.txt").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["munjang", "train", "tiny", "--output", str(tmp_path), "--data", "/nowhere"])
    with pytest.raises(SystemExit) as end:
        cli.run()
    assert end.value.code == 2
    assert "holds 'model', which munjang did not make" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "precious.txt"]


def test_copies_of_checkpoints_under_other_names_are_let_alone(tmp_path):
    for name in ("checkpoint-5", "checkpoint-10", "checkpoint-5-keep", "checkpoint-notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-10" / "whole").touch()
    (tmp_path / "checkpoint-5-keep" / "whole").touch()
    assert [path.name for path in remove_incomplete(tmp_path)] == ["checkpoint-5"]
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["checkpoint-10"]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "checkpoint-5-keep", "checkpoint-notes"}


def test_a_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_atomically(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write_atomically, args=(pipe, "text"))
    writer.start()
    assert pipe.read_text() == "text"
    writer.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
