import json
import shutil

import pytest

from munjang.registry import Registry
from munjang.testing_models import tiny_cross_encoder


@pytest.fixture
def registry(tiny_registry, tmp_path):
    """A registry of one's own with versions 1 and 2; stable names 1."""
    folder = tmp_path / "registry"
    shutil.copytree(tiny_registry.url, folder)
    found = Registry(str(folder))
    found.publish(found.local_folder(1), found.manifest(1))
    return found


@pytest.fixture
def versions(run, registry):
    def command(*arguments):
        return run("versions", *arguments, "--registry", registry.url)

    return command


def test_versions_are_listed_newest_first_with_their_aliases(versions):
    found = versions("list", "--json").json()
    assert [(entry["version"], entry["aliases"]) for entry in found["versions"]] == [(2, []), (1, ["stable"])]
    assert found["aliases"]["stable"]["version"] == 1
    table = versions("list")
    assert table.status == 0
    assert "stable" in table.out


def test_a_cross_encoder_gets_its_own_alias_and_never_stable(run, registry, versions, tmp_path):
    folder = tiny_cross_encoder(tmp_path / "cross")
    published = run("versions", "publish", folder, "--promote", "--registry", registry.url)
    assert published.status == 0
    assert "rerank names it now" in published.out
    refused = versions("promote", "3", "--alias", "stable")
    assert refused.status == 1
    assert "'stable' names dense models only" in refused.err
    assert versions("promote", "3", "--json").json()["alias"] == "rerank"
    assert versions("promote", "2", "--json").json()["alias"] == "stable"
    kinds = {entry["version"]: entry["kind"] for entry in versions("list", "--json").json()["versions"]}
    assert kinds == {1: "dense", 2: "dense", 3: "cross-encoder"}


def test_an_empty_registry_lists_nothing(run, tmp_path):
    assert run("versions", "list", "--registry", tmp_path, "--json").json()["versions"] == []


@pytest.mark.parametrize("command", ["list", "show", "verify 1", "promote 1", "rollback", "remove 1"])
@pytest.mark.parametrize("place", ["없음", "memory://none/models"])
def test_a_registry_that_does_not_exist_is_told_and_not_made(run, tmp_path, command, place):
    url = place if "://" in place else tmp_path / place
    done = run("versions", *command.split(), "--registry", url)
    assert done.status == 1
    assert f"there is no registry at {url}" in done.err
    assert not list(tmp_path.iterdir())


def test_a_server_says_how_the_versions_stand(run, target, tiny_registry):
    found = run("versions", "list", "--registry", tiny_registry.url, "--target", target, "--json").json()
    assert found["versions"][0]["state"] == "available"
    assert found["aliases"]["stable"]["serving"] == 1


def test_a_version_is_described_by_number_or_alias(versions):
    found = versions("show", "stable", "--json").json()
    assert (found["version"], found["dimensions"], found["prompts"]) == (1, 32, {"query": "질문: ", "document": ""})
    assert "probes" not in found
    assert "model.safetensors" in versions("show", "2").out


def test_the_published_model_is_the_next_version(versions, tiny_folder, registry):
    done = versions("publish", tiny_folder, "--recipe", "시험", "--json")
    assert done.json()["version"] == 3
    assert registry.manifest(3).recipe == "시험"
    assert registry.resolve("stable") == 1


def test_publishing_may_promote_at_once(versions, tiny_folder, registry):
    done = versions("publish", tiny_folder, "--promote", "--alias", "canary")
    assert "published version 3" in done.out
    assert registry.resolve("canary") == 3


def test_a_model_that_is_published_again_is_the_same_space(versions, tiny_folder, registry):
    done = versions("publish", tiny_folder)
    space = registry.manifest(3).space_id
    same = [number for number in (2, 1) if registry.manifest(number).space_id == space]
    assert f"the same space as version {', '.join(map(str, same))}:" in done.err
    assert f"(space {space})" in done.out
    assert versions("list", "--json").json()["versions"][0]["space_id"] == space
    assert space[:8] in versions("list").out
    assert space in versions("show", space).out


def test_a_folder_that_is_no_model_is_refused(versions, tmp_path):
    (tmp_path / "빈폴더").mkdir()
    done = versions("publish", tmp_path / "빈폴더")
    assert done.status == 1
    assert "modules.json" in done.err


def test_promoting_and_rolling_back_move_the_alias(versions, registry):
    assert versions("promote", "2", "--json").json()["previous"] == 1
    assert registry.resolve("stable") == 2
    assert "@" in registry.alias("stable").by
    assert "stable names version 1 now" in versions("rollback").out
    assert registry.resolve("stable") == 1


def test_what_is_not_there_cannot_be_promoted(versions):
    done = versions("promote", "7")
    assert done.status == 1
    assert "there is no version 7" in done.err


def test_a_flipped_byte_is_found(versions, registry):
    weights = registry.local_folder(2) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)
    done = versions("verify", "--json")
    assert done.status == 1
    verdicts = {entry["version"]: entry["ok"] for entry in json.loads(done.out)["verified"]}
    assert verdicts == {1: True, 2: False}
    assert "as published" in versions("verify", "1").out


def test_a_version_is_removed_unless_an_alias_names_it(versions, registry):
    assert versions("remove", "2").out == "removed 2\n"
    assert registry.versions() == [1]
    done = versions("remove", "1")
    assert done.status == 1
    assert "stable" in done.err


def test_a_version_to_roll_back_to_is_removed_only_by_force(versions, registry):
    registry.promote("stable", 2, "tests")
    assert versions("remove", "1").status == 1
    assert versions("remove", "1", "--force").status == 0


def test_a_person_is_asked_before_a_version_is_gone(versions, registry, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert versions("remove", "2").status == 1
    assert registry.versions() == [1, 2]
    assert versions("remove", "2", "--yes").status == 0


class Terminal:
    """Standard input with a person at it."""

    def __init__(self, answer):
        self.answer = answer
        self.encoding = "utf-8"

    def isatty(self):
        return True

    def readline(self, *_):
        return self.answer
