import json

import pytest

from munjang.client import Client
from munjang.client.connection import Address, ConnectionOptions, address, channel_options
from munjang.errors import ConfigurationError


def test_one_address_is_dialled_as_it_is():
    assert address("embed.example:50051") == Address("embed.example:50051", several=False, loopback=False)
    assert address("[::1]:50051") == Address("[::1]:50051", several=False, loopback=True)
    assert address("localhost:1") == Address("localhost:1", several=False, loopback=True)
    assert address("unix:/run/munjang.sock").loopback
    assert address("dns:///embed.svc:50051").target == "dns:///embed.svc:50051"


def test_several_addresses_become_one_target():
    assert address("127.0.0.1:1, 127.0.0.2:2") == Address("ipv4:127.0.0.1:1,127.0.0.2:2", several=True, loopback=True)
    assert address(["10.0.0.1:1", "127.0.0.1:1"]) == Address(
        "ipv4:10.0.0.1:1,127.0.0.1:1", several=True, loopback=False
    )
    assert address(["[::1]:1", "[::2]:2"]).target == "ipv6:[::1]:1,[::2]:2"


@pytest.mark.parametrize("wrong", ["", " , ", "host", "host:", ":50051", "host:0", "host:70000", "host:port"])
def test_what_is_not_an_address_is_refused(wrong):
    with pytest.raises(ConfigurationError) as error:
        address(wrong)
    assert error.value.field == "targets"


def test_addresses_of_both_families_do_not_mix():
    with pytest.raises(ConfigurationError, match="not all IPv4 nor all IPv6"):
        address("127.0.0.1:1,[::1]:1")


def test_health_is_asked_where_there_is_a_choice():
    def config(several, **options):
        arguments = dict(channel_options(Address("x:1", several, loopback=True), ConnectionOptions(**options)))
        return json.loads(arguments["grpc.service_config"])

    assert "healthCheckConfig" in config(several=True)
    assert "healthCheckConfig" not in config(several=False)
    assert "healthCheckConfig" in config(several=False, health_check=True)
    assert config(several=False)["loadBalancingConfig"] == [{"round_robin": {}}]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timeout": 0}, "timeout"),
        ({"batch_size": 0}, "batch_size"),
        ({"in_flight": -1}, "in_flight"),
        ({"cert": "a.pem"}, "key"),
        ({"key": "a.key"}, "cert"),
        ({"token": "줄\n바꿈"}, "token"),
        ({"ca": "/no/such/file.pem"}, "ca"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, field):
    with pytest.raises(ConfigurationError) as error:
        Client("127.0.0.1:1", **options)
    assert error.value.field == field


def test_the_token_is_not_printed():
    with Client("127.0.0.1:1", token="s3cret") as client:
        assert "s3cret" not in repr(client)
