"""The models of `tests.zoo.encoders`, each as its row expects."""

from __future__ import annotations

import pytest

from tests.zoo.checks import check, parameters
from tests.zoo.encoders import ROWS


@pytest.mark.parametrize("row", parameters(ROWS))
def test_the_model_is_published_and_served_as_expected_or_refused_in_words(row, tmp_path):
    check(row, tmp_path)
