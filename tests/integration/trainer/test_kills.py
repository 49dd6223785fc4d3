from __future__ import annotations

import pytest
from drill import kill_publishers, kill_trainings
from recipes import recipe, write_recipe

KILLS = 6
"""So many of each in the usual run; `tests/bench/trainer_kills.py` does as many as one likes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kills")


def test_a_killed_training_goes_on_to_the_very_same_model(forge, folder):
    assert kill_trainings(forge, write_recipe(folder, recipe()), folder, KILLS) >= 1


def test_readers_never_see_half_a_version_of_a_killed_publisher(forge, folder):
    path = write_recipe(folder, recipe())
    assert forge.run("train", str(path), "--data", str(folder), "--output", str(folder / "whole")) == 0
    assert len(kill_publishers(forge, folder / "whole", str(folder / "registry"), KILLS)) >= 1
