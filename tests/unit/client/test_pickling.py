import copy
import pickle

import pytest

from munjang.client import AsyncClient, Client, RetryPolicy


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_pickled_client_is_rebuilt_with_its_options(kind):
    retry = RetryPolicy(attempts=2)
    client = kind(["127.0.0.1:1", "127.0.0.1:2"], timeout=None, retry=retry, batch_size=3, token="secret")
    for again in (pickle.loads(pickle.dumps(client)), copy.deepcopy(client)):  # noqa: S301 - our own bytes
        assert type(again) is kind
        assert repr(again) == repr(client)
        assert again._options == client._options
        assert again._opening is not client._opening
