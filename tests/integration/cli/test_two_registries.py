"""`munjang versions` beside a server that follows another registry."""

import shutil

import pytest

from munjang.registry import Registry


@pytest.fixture
def other(tiny_registry, tmp_path):
    """A registry of its own with another id: its versions 1 and 2 are one space with version 1 of the server."""
    found = Registry(str(tmp_path / "other"))
    for _ in range(2):
        found.publish(tiny_registry.local_folder(1), tiny_registry.manifest(1))
    found.promote("stable", 2, "tests")
    return found


def listed(run, registry, *arguments):
    done = run("versions", "list", "--registry", registry.url, "--json", *arguments)
    return done.json(), done.err


def test_versions_of_another_registry_are_not_joined_by_number(run, target, other, tiny_registry):
    found, said = listed(run, other, "--target", target)
    assert f"the server at {target} follows another registry than {other.url}" in said
    assert found["server"] == {
        "target": target,
        "registry_id": tiny_registry.identity(),
        "same_registry": False,
        "serving": {"stable": 1},
    }
    assert "serving" not in found["aliases"]["stable"]
    by_space = {entry["version"]: (entry["state"], entry["server_version"]) for entry in found["versions"]}
    assert by_space == {1: ("available", 1), 2: ("available", 1)}
    table = run("versions", "list", "--registry", other.url, "--target", target).out
    assert "available as 1" in " ".join(table.split())


def test_the_same_number_with_another_model_is_unknown_to_the_server(run, target, tiny_registry, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_registry.url, copy)  # with the id: a backup that went on by itself
    registry = Registry(str(copy))
    registry.publish(registry.local_folder(1), registry.manifest(1).model_copy(update={"prompts": {"new": "새: "}}))
    found, said = listed(run, registry, "--target", target)
    assert "another registry" not in said
    states = {entry["version"]: entry["state"] for entry in found["versions"]}
    assert states[2] == "unknown"
    assert states[1] == "available"


def test_a_server_of_the_same_registry_is_not_remarked_on(run, target, tiny_registry):
    found, said = listed(run, tiny_registry, "--target", target)
    assert found["server"]["same_registry"] is True
    assert not said


@pytest.mark.parametrize("command", [["promote", "1"], ["rollback"]])
def test_moving_an_alias_says_that_the_server_does_not_see_it(run, target, other, monkeypatch, command):
    other.promote("stable", 1, "tests")
    monkeypatch.setenv("MUNJANG_TARGET", target)
    done = run("versions", *command, "--registry", other.url)
    assert done.status == 0
    assert "follows another registry" in done.err


def test_publishing_says_it_too(run, target, other, tiny_folder):
    done = run("versions", "publish", tiny_folder, "--registry", other.url, "--target", target)
    assert done.status == 0
    assert "follows another registry" in done.err


def test_a_new_registry_is_remarked_on(run, tmp_path, tiny_folder):
    done = run("versions", "publish", tiny_folder, "--registry", tmp_path / "neu")
    assert f"there is no registry at {tmp_path / 'neu'} yet: it is made" in done.err


def test_the_server_of_the_variable_is_asked_and_may_be_away(run, target, tiny_registry, monkeypatch):
    monkeypatch.setenv("MUNJANG_TARGET", target)
    found, _ = listed(run, tiny_registry)
    assert found["versions"][0]["state"] == "available"
    monkeypatch.setenv("MUNJANG_TARGET", "127.0.0.1:1")
    found, said = listed(run, tiny_registry)
    assert "state" not in found["versions"][0]
    assert "the server at 127.0.0.1:1 was not asked" in said
    away = run("versions", "list", "--registry", tiny_registry.url, "--target", "127.0.0.1:1")
    assert away.status == 1
