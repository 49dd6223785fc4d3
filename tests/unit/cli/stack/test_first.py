"""A demonstration takes the starter that a home holds already, instead of making it again."""

import pytest

from munjang.cli.stack import first
from munjang.registry import DEFAULT, Description, Registry
from munjang.testing_models import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def home(tmp_path, folder):
    """A registry with another model between the starter and the tuned starter."""
    registry = Registry(str(tmp_path / "집"))
    for recipe in ("starter", "내 모델", "starter-adapter"):
        registry.publish(folder, Description(base_model="tiny", recipe=recipe, dimensions=32, max_tokens=64))
    return registry


@pytest.mark.parametrize(("adapter", "recipes"), [(True, ["starter", "starter-adapter"]), (False, ["starter"])])
def test_the_starters_of_a_home_are_published_again_and_the_first_is_served(home, tmp_path, adapter, recipes):
    url = str(tmp_path / "새")
    assert first.reuse(home.url, url, adapter=adapter)
    found = Registry(url)
    assert [found.manifest(version).recipe for version in found.versions()] == recipes
    assert found.resolve(DEFAULT) == 1
    assert found.manifest(1).space_id == home.manifest(1).space_id


def test_without_a_whole_starter_there_is_nothing_to_take(home, tmp_path):
    home.remove(3)
    assert not first.reuse(home.url, str(tmp_path / "새"), adapter=True)
    assert not first.reuse(str(tmp_path / "없음"), str(tmp_path / "새"), adapter=False)
    assert not first.reuse("s3://bucket/models", str(tmp_path / "새"), adapter=False)
    assert not (tmp_path / "새").exists()
    assert not (tmp_path / "없음").exists()


def test_conversions_are_copied_where_there_are_any(tmp_path):
    first.copy_exports(tmp_path / "없음", tmp_path / "새")
    (tmp_path / "cache" / "exports" / "a").mkdir(parents=True)
    (tmp_path / "cache" / "exports" / "a" / "model.xml").touch()
    first.copy_exports(tmp_path / "cache", tmp_path / "새")
    assert (tmp_path / "새" / "exports" / "a" / "model.xml").is_file()
