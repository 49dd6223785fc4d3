import pytest

from munjang.network import is_loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost.", "127.0.0.1", "127.8.9.1", "127.1", "::1", "[::1]", "::ffff:127.0.0.1", "0.0.0.0", "::"],
)
def test_this_machine_is_known_by_every_spelling(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example", "embed.example", "::2", "", "128.0.0.1", "한글"])
def test_what_may_be_another_machine_is_not_taken_for_this_one(host):
    assert not is_loopback(host)
