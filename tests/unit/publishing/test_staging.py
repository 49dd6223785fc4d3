"""What of a folder goes into a version."""

from __future__ import annotations

from munjang.publishing.staging import staged
from munjang.registry.publish import model_files

KEPT = ["1_Pooling/config.json", "README.md", "config.json", "model.safetensors", "modules.json", "vocab.txt"]
LEFT_OUT_FOLDERS = [".cache", ".git", "checkpoint-500", "eval", "onnx", "openvino", "runs"]
LEFT_OUT_FILES = [
    ".gitattributes",
    "modeling_own.py",
    "optimizer.pt",
    "optimizer.safetensors",
    "pytorch_model.bin",
    "trainer_state.json",
    "training_args.bin",
]


def fill(folder):
    for name in [*KEPT, *LEFT_OUT_FILES, *(f"{name}/config.json" for name in LEFT_OUT_FOLDERS)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_only_what_belongs_to_a_model_is_copied_and_the_rest_is_named(tmp_path):
    fill(tmp_path)
    with staged(tmp_path) as stage:
        assert model_files(stage.folder) == KEPT
        assert (stage.folder / "vocab.txt").read_text() == "vocab.txt"
        assert set(stage.left_out) == {*LEFT_OUT_FILES, *(f"{name}/" for name in LEFT_OUT_FOLDERS)}


def test_the_copy_is_gone_afterwards_and_the_folder_is_as_it_was(tmp_path):
    fill(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))
    with staged(tmp_path) as stage:
        copy = stage.folder
    assert not copy.exists()
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_links_to_files_are_followed_as_a_hub_cache_has_them(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "5a1").write_text("{}")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "config.json").symlink_to("../blobs/5a1")
    with staged(snapshot) as stage:
        assert model_files(stage.folder) == ["config.json"]
        assert (stage.folder / "config.json").read_text() == "{}"


def test_links_to_folders_are_left_out(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").write_text("비밀")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "data").symlink_to("../elsewhere")
    with staged(model) as stage:
        assert model_files(stage.folder) == ["config.json"]
        assert stage.left_out == ("data/",)
