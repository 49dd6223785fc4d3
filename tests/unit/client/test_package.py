"""What `munjang` and `munjang.client` offer by name."""

import json
import subprocess
import sys
from typing import get_args

import pytest

import munjang
from munjang import client, errors
from munjang.client import choices, requests
from munjang.kinds import Role
from munjang.vectors import Precision


def test_the_clients_are_in_the_package_itself():
    assert (munjang.Client, munjang.AsyncClient) == (client.Client, client.AsyncClient)
    with pytest.raises(AttributeError, match="has no attribute 'Clinet'"):
        munjang.Clinet  # noqa: B018 - its error is what is tested


def test_the_package_alone_loads_neither_numpy_nor_grpc():
    code = "import json, sys; import munjang; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    assert not {"numpy", "grpc", "munjang.client"}.intersection(json.loads(output))


def test_every_error_is_in_the_client_package():
    raised = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert {name: getattr(client, name, None) for name in raised} == raised
    assert set(raised) <= set(client.__all__)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (choices.RoleName, {"", *Role}),
        (choices.PrecisionName, set(Precision)),
        (choices.TruncationName, set(requests._TRUNCATIONS)),
        (choices.ModeName, set(requests._MODES)),
    ],
)
def test_the_types_of_options_name_exactly_the_words_that_are_taken(hint, words):
    literals = [each for each in (*get_args(hint), hint) if get_args(each) and not isinstance(each, type)]
    named = {word for each in literals for word in get_args(each) if isinstance(word, str)}
    assert named == words
