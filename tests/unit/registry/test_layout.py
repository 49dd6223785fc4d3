from __future__ import annotations

import json
import os.path
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import ForbiddenFile, InvalidManifest, PathEscape, RegistryError, UnsupportedManifest
from munjang.registry import Manifest, Probe
from munjang.registry.layout import ALIAS_PATTERN, FORMAT, check_path, number_of, parse_manifest


def manifest_json(**changes: object) -> bytes:
    entry = {"path": "model.safetensors", "size": 3, "sha256": "a" * 64}
    record = {"format": FORMAT, "version": 7, "created_at": "2026-01-02T03:04:05Z", "files": [entry], **changes}
    return json.dumps({"dimensions": 4, "max_tokens": 128, **record}).encode()


def files(*paths: str) -> list[dict[str, object]]:
    return [{"path": path, "size": 3, "sha256": "a" * 64} for path in paths]


@pytest.mark.parametrize(
    "path", ["model.safetensors", "1_Pooling/config.json", "카드.md", "a/b/c/vocab.txt", "chat.jinja"]
)
def test_plain_data_files_are_allowed(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd.json",
        "../a.json",
        "a/../../b.json",
        "a/./b.json",
        "a//b.json",
        "a.json/",
        "C:/a.json",
        "a\\b.json",
        "a\0.json",
        "a\n.json",
        "가" * 84 + ".json",
        "\u202enosj.json",
    ],
)
def test_a_path_that_leaves_the_folder_or_is_no_plain_name_is_refused(path: str) -> None:
    with pytest.raises(PathEscape):
        check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "pytorch_model.bin",
        "training_args.bin",
        "model.pkl",
        "model.pt",
        "modeling.py",
        ".env.json",
        ".git/a.json",
        "LICENSE",
        "run.sh",
        "model.safetensors.zip",
        "a.JSON",
        "model.ckpt",
        "x/.hidden/a.txt",
    ],
)
def test_a_kind_of_file_that_is_not_data_is_refused_by_name(path: str) -> None:
    with pytest.raises(ForbiddenFile, match=path.rpartition("/")[2]):
        check_path(path)


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b.json", "/", "\\", "C:", "~", "문장"]), max_size=6).map("/".join)
)
def test_whatever_path_is_allowed_stays_below_the_folder(path: str) -> None:
    try:
        check_path(path)
    except RegistryError:
        return
    landed = os.path.normpath(f"/registry/model/{path}")
    assert landed == f"/registry/model/{path}"
    assert ".." not in PurePosixPath(path).parts


@given(st.text())
def test_any_text_as_a_path_is_allowed_or_refused_but_never_breaks(path: str) -> None:
    try:
        check_path(path)
    except RegistryError:
        return
    assert os.path.normpath(f"/registry/model/{path}").startswith("/registry/model/")
    assert path.isprintable()


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_as_a_manifest_are_refused_with_an_error_of_the_registry(data: bytes) -> None:
    with pytest.raises(RegistryError):
        parse_manifest(data, 7)


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    entry = files("model.safetensors")[0]
    manifest = Manifest(
        dimensions=4,
        max_tokens=128,
        prompts={"질문": "질문: "},
        version=7,
        created_at=datetime.now(UTC),
        files=(entry,),
    )
    assert parse_manifest(manifest.model_dump_json().encode(), 7) == manifest


def test_a_manifest_of_a_newer_format_is_unsupported_even_if_nothing_else_of_it_is_known() -> None:
    with pytest.raises(UnsupportedManifest, match=rf"format {FORMAT + 1}.*up to {FORMAT}"):
        parse_manifest(json.dumps({"format": FORMAT + 1, "model": {"new": True}}).encode(), 7)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dimensions": 0}, "dimensions"),
        ({"max_tokens": "많이"}, "max_tokens"),
        ({"format": 0}, "format"),
        ({"files": []}, "no file"),
        ({"files": [{"path": "a.json", "size": -1, "sha256": "a" * 64}]}, "size"),
        ({"files": [{"path": "a.json", "size": 1, "sha256": "가" * 64}]}, "sha256"),
        ({"files": files("a.json", "a.json")}, "twice"),
        ({"files": files("a.json", "A.json")}, "twice"),
        ({"files": files("a.json", "a.json/b.json")}, "below a file"),
    ],
)
def test_an_invalid_manifest_is_refused_naming_the_field(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidManifest, match=f"version 7.*{named}") as caught:
        parse_manifest(manifest_json(**changes), 7)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="folder 8 is that of version 7"):
        parse_manifest(manifest_json(), 8)


def test_a_manifest_that_names_a_pickle_or_leaves_the_folder_is_refused() -> None:
    with pytest.raises(ForbiddenFile, match=r"training_args.bin"):
        parse_manifest(manifest_json(files=files("training_args.bin")), 7)
    with pytest.raises(PathEscape, match="leaves the model folder"):
        parse_manifest(manifest_json(files=files("../8/model.safetensors")), 7)


@pytest.mark.parametrize("name", ["0", "-1", "07", "1.0", "1e3", " 1", "１", "칠", "", "9999999999", "../1"])
def test_only_plain_decimal_numbers_are_versions(name: str) -> None:
    assert number_of(name) == 0


def test_an_alias_is_never_taken_for_a_number() -> None:
    assert number_of("12") == 12
    assert not ALIAS_PATTERN.fullmatch("12")


def test_a_probe_keeps_its_vector_to_the_bit() -> None:
    vector = np.array([0.1, -2.5, 3e-8], np.float32)
    assert Probe.of("문장", vector).array().tobytes() == vector.tobytes()
