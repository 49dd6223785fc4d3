"""Which files a job reads: linked folders, names in every form, and a count of everything that is left out."""

from __future__ import annotations

import gzip
import os
import socket
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from munjang.bulk.job import JobSpec
from munjang.errors import InvalidJob
from munjang_worker.sources import OUTSIDE, find_sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang_worker.plan import LeftOut

LINE = '{"text": "하나"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An input folder with one good file, and another folder beside it."""
    for name in ("in", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text(LINE, encoding="utf-8")
    return tmp_path / "in"


def found(path: Path, roots: tuple[str, ...] = (), **options: Any) -> tuple[list[str], dict[str, str]]:
    """The paths of the files below `in`, and what was left out, with the reason."""
    left_out: list[LeftOut] = []
    spec = JobSpec(input=str(path), output="/nowhere/out", **options)
    urls = [source.url for source in find_sources(spec, roots, left_out)]
    return [url.split("/in/")[1] for url in urls], {one.name.split("/in/")[1]: one.why for one in left_out}


@pytest.mark.parametrize("pattern", ["", "**/*.jsonl"])
def test_a_linked_folder_is_read_once_and_a_loop_is_found(folder: Path, pattern: str) -> None:
    (folder / "2024").symlink_to(folder.parent / "elsewhere")
    (folder / "latest").symlink_to("2024")
    (folder / "deep").mkdir()
    (folder / "deep" / "loop").symlink_to("..")
    urls, left_out = found(folder / pattern)
    assert urls == ["2024/a.jsonl", "a.jsonl"]
    assert left_out == dict.fromkeys(["latest", "deep/loop"], "a link to a folder that is read already")


def test_a_folder_that_is_linked_and_there_itself_is_read_under_its_own_name(folder: Path) -> None:
    (folder / "z").mkdir()
    (folder / "z" / "b.jsonl").write_text(LINE, encoding="utf-8")
    (folder / "a").symlink_to("z")
    assert found(folder) == (["a.jsonl", "z/b.jsonl"], {"a": "a link to a folder that is read already"})


def test_a_link_out_of_the_roots_is_left_out_and_counted(folder: Path) -> None:
    (folder / "2024").symlink_to(folder.parent / "elsewhere")
    (folder / "b.jsonl").symlink_to(folder.parent / "elsewhere" / "a.jsonl")
    assert found(folder, roots=(str(folder),)) == (["a.jsonl"], {"2024": OUTSIDE, "b.jsonl": OUTSIDE})
    assert found(folder, roots=(str(folder.parent),))[0] == ["2024/a.jsonl", "a.jsonl", "b.jsonl"]


@pytest.mark.parametrize("pattern", ["", "**/*.jsonl", "*/*/*.jsonl"])
def test_an_output_in_a_linked_folder_is_refused(folder: Path, pattern: str) -> None:
    (folder / "2024").symlink_to(folder.parent / "elsewhere")
    spec = JobSpec(input=str(folder / pattern), output=str(folder.parent / "elsewhere" / "out"), format="jsonl")
    with pytest.raises(InvalidJob, match="holds the output folder"):
        find_sources(spec, ())


def test_whatever_is_left_out_is_told_with_the_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "fifo.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder)  # a socket's path is short
        server.bind("socket.jsonl")
    for name in (".hidden.jsonl", "_hidden.jsonl", "README", "notes.md", "b.jsonl.bz2", ".git/a.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(LINE, encoding="utf-8")
    (folder / "dead.jsonl").symlink_to("nowhere")
    (folder / os.fsdecode("한글.jsonl".encode("cp949"))).write_text(LINE, encoding="utf-8")
    urls, left_out = found(folder)
    assert urls == ["a.jsonl"]
    assert "'한글.jsonl'" in left_out.pop(next(name for name in left_out if "\\x" in name))
    reasons = {
        ".git": "its name begins",
        ".hidden.jsonl": "its name begins",
        "_hidden.jsonl": "its name begins",
        "README": "its suffix is not known",
        "notes.md": "its suffix is not known",
        "b.jsonl.bz2": "its suffix is not known",
        "dead.jsonl": "leads nowhere",
        "fifo.jsonl": "a FIFO",
        "socket.jsonl": "a socket",
    }
    assert left_out.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in left_out[name]


def test_what_may_not_be_read_is_left_out_and_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "closed").mkdir()
    (folder / "secret.jsonl").write_text(LINE, encoding="utf-8")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: "secret" not in path)
    assert found(folder) == (
        ["a.jsonl"],
        {"closed": "it cannot be listed: Permission denied", "secret.jsonl": "no permission to read it"},
    )


def test_the_manifest_lists_what_was_left_out(folder: Path, run: Callable[..., Any]) -> None:
    (folder / "notes.md").touch()
    [left_out] = run(folder)["left_out"]
    assert left_out["name"] == str(folder / "notes.md")


def test_a_named_format_is_believed_for_files_of_any_suffix(folder: Path) -> None:
    (folder / "part-1").write_text(LINE, encoding="utf-8")
    (folder / "b.log").write_text(LINE, encoding="utf-8")
    (folder / "c.log.gz").write_bytes(gzip.compress(LINE.encode()))
    assert found(folder, input_format="jsonl") == (["a.jsonl", "b.log", "c.log.gz", "part-1"], {})


def test_an_input_that_holds_nothing_to_read_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    with pytest.raises(InvalidJob, match=r"there is no file .*left out: '.*notes\.md' \(its suffix"):
        find_sources(JobSpec(input=str(tmp_path), output="/nowhere/out"), ())


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.jsonl")
    with pytest.raises(InvalidJob, match="is a FIFO"):
        find_sources(JobSpec(input=str(tmp_path / "in.jsonl"), output="/nowhere/out"), ())


@pytest.mark.parametrize("pattern", ["자료", "자료/문장.jsonl", "자료/문*.jsonl", "자*/*.jsonl"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_is_found_in_whatever_normal_form_it_is_asked_for(
    tmp_path: Path, pattern: str, stored: Any, asked: Any
) -> None:
    path = tmp_path / unicodedata.normalize(stored, "자료/문장.jsonl")
    path.parent.mkdir()
    path.write_text(LINE, encoding="utf-8")
    spec = JobSpec(input=f"{tmp_path}/{unicodedata.normalize(asked, pattern)}", output="/nowhere/out")
    assert [source.url for source in find_sources(spec, ())] == [str(path)]


def test_zeros_after_a_gzip_member_are_no_damage(tmp_path: Path, run: Callable[..., Any]) -> None:
    data = gzip.compress(LINE.encode())
    (tmp_path / "in.jsonl.gz").write_bytes(data + data + b"\0" * 1000)
    assert run(tmp_path / "in.jsonl.gz")["rows_encoded"] == 2


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        ("gz", lambda: gzip.compress(LINE.encode())[:-5]),
        ("gz", lambda: gzip.compress(LINE.encode()) + b"garbage"),
        ("gz", lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\3\xff\xff\xff\xff"),
        ("zst", lambda: zstandard.compress(LINE.encode() * 100)[:-5]),
        ("zst", lambda: b"garbage"),
    ],
)
def test_the_damaged_one_of_many_archives_is_named(
    tmp_path: Path, run: Callable[..., Any], suffix: str, damage: Callable[[], bytes]
) -> None:
    good = gzip.compress(LINE.encode()) if suffix == "gz" else zstandard.compress(LINE.encode())
    for number in range(3):
        (tmp_path / f"{number}.jsonl.{suffix}").write_bytes(damage() if number == 1 else good)
    with pytest.raises(InvalidJob, match=rf"1\.jsonl\.{suffix}' is damaged or incomplete"):
        run(tmp_path / "*.jsonl.*")


def test_a_zstd_window_beyond_the_limit_says_so(tmp_path: Path, run: Callable[..., Any]) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "in.jsonl.zst").write_bytes(compressor.compress(LINE.encode()) + compressor.flush())
    with pytest.raises(InvalidJob, match=r"in\.jsonl\.zst' needs a zstd window of more than 128 MiB"):
        run(tmp_path / "in.jsonl.zst")
