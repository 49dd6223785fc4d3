from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from forge import Forge
from recipes import write_data


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """A folder with the small data, and room for runs and a registry."""
    folder = tmp_path_factory.mktemp("workshop")
    write_data(folder)
    return folder


@pytest.fixture(scope="session")
def forge(workshop):
    with Forge(workshop / "forge.log") as started:
        yield started
