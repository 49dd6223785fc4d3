"""What makes two versions one space, and how a version is found by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from munjang.errors import InvalidOption, VersionNotFound
from munjang.kinds import ModelKind
from munjang.registry.layout import SPACE_PATTERN, manifest_path

if TYPE_CHECKING:
    from pathlib import Path

    from munjang.registry import Description, Registry

CONFIG = {"hidden_size": 4, "num_hidden_layers": 1, "architectures": ["BertModel"], "transformers_version": "5.0.0"}


@pytest.fixture
def configured(model: Path) -> Path:
    (model / "config.json").write_text(json.dumps(CONFIG))
    return model


def rewrite(folder: Path, **changes: object) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes, indent=4, sort_keys=True))


def test_a_version_has_a_space_of_its_own_form(registry: Registry, model: Path, description: Description) -> None:
    manifest = registry.publish(model, description)
    assert SPACE_PATTERN.fullmatch(manifest.space_id)
    assert registry.manifest(1).space_id == manifest.space_id


def test_the_same_model_is_the_same_space_in_every_registry(
    local: Registry, memory: Registry, model: Path, description: Description
) -> None:
    assert local.publish(model, description).space_id == memory.publish(model, description).space_id


@pytest.mark.parametrize("number", range(4))
def test_what_decides_no_vector_leaves_the_space(
    local: Registry, configured: Path, description: Description, number: int
) -> None:
    before = local.publish(configured, description).space_id
    match number:
        case 0:
            (configured / "README.md").write_text("# 카드", encoding="utf-8")
        case 1:
            rewrite(
                configured,
                transformers_version="6.1.0",
                _name_or_path="somewhere/else",
                architectures=["BertForMaskedLM"],
            )
        case 2:
            description = description.model_copy(update={"metrics": {"korsts": 0.9}, "base_model": "klue/bert-base"})
        case 3:
            (configured / "LICENSE.txt").write_text("MIT")
    assert local.publish(configured, description).space_id == before


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("model.safetensors", b"other weights"),
        ("vocab.txt", b"\xea\xb0\x80\n"),
        ("1_Pooling/config.json", b'{"pooling_mode": "cls"}'),
        ("modules.json", b'[{"name": "2"}]'),
        ("config.json", json.dumps(CONFIG | {"num_hidden_layers": 2}).encode()),
        ("config.json", b"not JSON"),
        ("2_Dense/model.safetensors", b"one more module"),
    ],
)
def test_what_decides_a_vector_makes_another_space(
    local: Registry, configured: Path, description: Description, path: str, content: bytes
) -> None:
    before = local.publish(configured, description).space_id
    (configured / path).parent.mkdir(exist_ok=True)
    (configured / path).write_bytes(content)
    assert local.publish(configured, description).space_id != before


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": {"query": "질의: "}},
        {"prompts": {"query": "질문: ", "document": ""}},
        {"default_prompt": "query"},
        {"max_tokens": 64},
        {"kind": ModelKind.CROSS_ENCODER},
    ],
)
def test_prompts_limits_and_kind_are_part_of_the_space(
    local: Registry, model: Path, description: Description, changes: dict[str, object]
) -> None:
    before = local.publish(model, description).space_id
    assert local.publish(model, description.model_copy(update=changes)).space_id != before


def test_a_manifest_older_than_spaces_has_the_space_of_its_files(
    local: Registry, model: Path, description: Description
) -> None:
    for version in (1, 2):
        local.publish(model, description)
        data = json.loads(local.storage.read(manifest_path(version)))
        del data["space_id"]
        local.storage.replace(manifest_path(version), json.dumps(data).encode())
    old = local.manifest(1).space_id
    assert SPACE_PATTERN.fullmatch(old)
    assert old == local.manifest(2).space_id
    (model / "vocab.txt").write_text("다른\n", encoding="utf-8")
    assert local.publish(model, description).space_id != old


def test_a_space_names_its_newest_version(registry: Registry, model: Path, description: Description) -> None:
    space = registry.publish(model, description).space_id
    registry.publish(model, description.model_copy(update={"max_tokens": 64}))
    registry.publish(model, description)
    assert registry.in_space(space) == [3, 1]
    assert registry.resolve(space) == 3


def test_a_version_that_cannot_be_read_is_in_no_space(local: Registry, model: Path, description: Description) -> None:
    space = local.publish(model, description).space_id
    local.publish(model, description)
    local.storage.replace(manifest_path(2), b"{}")
    assert local.resolve(space) == 1


def test_an_unknown_space_is_refused(local: Registry, model: Path, description: Description) -> None:
    local.publish(model, description)
    with pytest.raises(VersionNotFound, match=r"no version of .* has the space"):
        local.resolve("ab" * 16)


def test_no_alias_may_look_like_a_space(local: Registry, model: Path, description: Description) -> None:
    local.publish(model, description)
    with pytest.raises(InvalidOption, match="looks like a space id"):
        local.promote("ab" * 16, 1)
    assert local.promote("ab" * 16 + "-", 1).version == 1
