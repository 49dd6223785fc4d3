"""Confinement: jobs reach only what lies below the roots, whatever the path looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from munjang.bulk.job import JobSpec
from munjang.errors import InvalidJob
from munjang_worker.sources import find_sources
from munjang_worker.storage import confine, split_roots

if TYPE_CHECKING:
    from pathlib import Path


def test_without_roots_everything_is_allowed() -> None:
    confine("/etc/passwd", split_roots(""), "input")


@pytest.mark.parametrize("url", ["/data", "/data/a/b.jsonl", "s3://bucket/in/a.jsonl", "s3://bucket/in"])
def test_what_lies_below_a_root_is_allowed(url: str) -> None:
    confine(url, split_roots("/data, s3://bucket/in/"), "input")


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd",
        "/database/a.jsonl",
        "/data/../etc/passwd",
        "s3://bucket/inside/a.jsonl",
        "s3://bucket/in/../secret/a.jsonl",
        "s3://bucket/in/%2e%2e/secret/a.jsonl",
        "s3://other/in/a.jsonl",
        "http://bucket/in/a.jsonl",
        "zip://a::/data/a.zip",
        "simplecache::s3://bucket/in/a.jsonl",
    ],
)
def test_what_lies_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(InvalidJob, match="outside") as caught:
        confine(url, split_roots("/data,s3://bucket/in"), "output")
    assert caught.value.field == "output"


def test_links_out_of_a_root_are_refused_by_name_and_left_out_of_folders(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.txt").write_text("비밀\n", encoding="utf-8")
    (tmp_path / "root" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "root" / "open.txt").write_text("공개\n", encoding="utf-8")
    roots = split_roots(str(tmp_path / "root"))
    spec = JobSpec(input=str(tmp_path / "root" / "link.txt"), output=str(tmp_path / "out"))
    with pytest.raises(InvalidJob, match="outside"):
        find_sources(spec, roots)
    for pattern in ("open.txt", "*.txt", ""):
        spec = JobSpec(input=str(tmp_path / "root" / pattern), output=str(tmp_path / "out"))
        assert [source.url for source in find_sources(spec, roots)] == [str(tmp_path / "root" / "open.txt")]


def test_a_glob_that_begins_outside_is_refused_before_it_is_listed(tmp_path: Path) -> None:
    spec = JobSpec(input="/etc/*.txt", output=str(tmp_path / "out"))
    with pytest.raises(InvalidJob, match="outside"):
        find_sources(spec, split_roots(str(tmp_path)))
