import socket

import pytest

from munjang.cli.stack.plan import answers, check_free, dial, free_port
from munjang.errors import ConfigurationError


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_free_port_is_free():
    port = free_port()
    check_free("127.0.0.1", port)
    assert not answers("127.0.0.1", port)


def test_a_taken_port_is_refused_on_every_address(taken):
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(ConfigurationError, match=f"port {taken} on {host} is in use"):
            check_free(host, taken)
    assert answers("0.0.0.0", taken)


def test_a_port_shared_by_the_one_that_has_it_is_refused_too():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ConfigurationError, match="in use"):
            check_free("127.0.0.1", listener.getsockname()[1])


def test_a_host_of_another_machine_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        check_free("192.0.2.1", 50051)


def test_everywhere_is_dialled_here():
    assert dial("0.0.0.0", 1) == "127.0.0.1:1"
    assert dial("::", 1) == "[::1]:1"
    assert dial("embed.example", 1) == "embed.example:1"
