"""When `stable` moves to a first model, and when it is published anew. What is published here is not a model."""

from __future__ import annotations

import pytest

from munjang.registry import Description, Registry
from munjang_trainer.starter import publish
from munjang_trainer.starter.publish import publish_starter


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

    monkeypatch.setattr(publish, "convert", lambda *_, **__: 0)
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
