"""When `stable` moves to a first model, and when it is published anew. What is published here is not a model."""

from __future__ import annotations

import pytest

from munjang.registry import Description, Registry
from munjang_trainer.gate import GateRefused
from munjang_trainer.starter import publish
from munjang_trainer.starter.publish import publish_starter, publish_tuned


class Silent:
    """A reporter that nobody reads."""

    def step(self, what, total=None):
        return lambda _: None

    def note(self, what):
        pass


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry that takes an empty model in place of the converted one, quickly."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    def stand_in(registry, _, lineage, __):
        names = {"recipe": lineage.recipe, "data_fingerprint": lineage.data_fingerprint}
        return registry.publish(folder, Description(dimensions=384, max_tokens=512, **names))

    monkeypatch.setattr(publish, "convert", lambda _, folder, **__: folder.mkdir(exist_ok=True) or 0)
    monkeypatch.setattr(publish, "make_tuned", lambda _: None)
    monkeypatch.setattr(publish, "compare_folders", lambda *_: [])
    monkeypatch.setattr(publish, "check", lambda *_: None)
    monkeypatch.setattr(publish, "publish_folder", stand_in)
    return Registry(str(tmp_path / "registry"))


def test_stable_names_the_first_version_unless_told_not_to(registry):
    assert publish_starter(registry, Silent(), promote=False).alias == ""
    assert registry.aliases() == {}
    assert publish_starter(registry, Silent()).alias == "stable"
    assert registry.alias("stable").version == 1


def test_stable_stays_where_it_is_unless_told_to_move(registry):
    publish_starter(registry, Silent())
    again = publish_starter(registry, Silent(), force=True)
    assert (again.version, again.new, again.alias) == (2, True, "")
    assert registry.alias("stable").version == 1
    assert publish_starter(registry, Silent(), promote=True).alias == "stable"
    assert registry.alias("stable").version == 2


def test_the_full_and_the_pruned_model_are_two(registry):
    assert publish_starter(registry, Silent()).version == 1
    assert publish_starter(registry, Silent(), full=True).version == 2
    assert publish_starter(registry, Silent()).version == 1


def test_a_damaged_manifest_does_not_stand_in_the_way(registry):
    publish_starter(registry, Silent())
    registry.storage.path("versions/1/manifest.json").chmod(0o644)
    registry.storage.path("versions/1/manifest.json").write_text("{")
    assert publish_starter(registry, Silent()).version == 2


def both(registry, promote=None):
    first = publish_starter(registry, Silent(), promote=promote)
    return first, publish_tuned(registry, Silent(), first, promote=promote)


def test_the_tuned_starter_is_the_second_version_and_serves(registry):
    first, second = both(registry)
    assert ((first.version, first.alias), (second.version, second.alias)) == ((1, "stable"), (2, "stable"))
    assert registry.alias("stable").version == 2
    assert registry.rollback("stable", "tests").version == 1
    again = both(registry)
    assert [(outcome.version, outcome.new, outcome.alias) for outcome in again] == [(1, False, ""), (2, False, "")]


def test_the_tuned_starter_takes_the_place_of_no_model_of_yours_unless_told_to(registry):
    publish_starter(registry, Silent(), full=True)
    both(registry)
    assert registry.alias("stable").version == 1
    both(registry, promote=True)
    assert registry.alias("stable").version == 3


def test_a_tuned_starter_that_is_worse_is_not_published(registry, monkeypatch):
    monkeypatch.setattr(publish, "compare_folders", lambda *_: ["questions.ndcg@10 is 0.1 below"])
    with pytest.raises(GateRefused, match=r"questions.ndcg@10 is 0.1 below"):
        both(registry)
    assert registry.versions() == [1]
    assert registry.alias("stable").version == 1
