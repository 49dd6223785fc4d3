"""The gRPC door: how it listens, which methods it offers, how it stops. Gets the services."""

from __future__ import annotations

import socket
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from munjang.errors import ConfigurationError
from munjang_server.rpc import health_service
from munjang_server.rpc.interceptor import Interceptor
from munjang_server.rpc.services import SERVICES

if TYPE_CHECKING:
    from munjang.settings import ServerSettings
    from munjang_server.rpc.services import Services

TRANSPORT_SLACK = 4
"""The transport accepts messages this many times over the limit: the server itself refuses them, with advice."""

KEEPALIVE = (
    ("grpc.so_reuseport", 0),  # a port that is taken should be an error
    ("grpc.keepalive_time_ms", 60_000),  # find clients that vanished without a word
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # let clients do the same
    ("grpc.keepalive_permit_without_calls", 1),
)


class GrpcServer:
    """One gRPC server with all services. Create it on the event loop that should serve it.

    Args:
        settings: how it listens and what it accepts.
        services: what it serves.
    """

    def __init__(self, settings: ServerSettings, services: Services) -> None:
        self._settings = settings
        self._server = grpc.aio.server(options=_options(settings))
        self._add_services(services)

    def listen(self, credentials: grpc.ServerCredentials | None) -> int:
        """Bind the port; returns its number.

        Raises:
            ConfigurationError: it cannot be used.
        """
        settings = self._settings
        check_address(settings.host, settings.port)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.port}"
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            msg = f"cannot listen on {address}: it is taken, or the certificate is not valid"
            raise ConfigurationError(msg, field="port") from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Take no new calls, and cut off those that are in flight after `seconds`."""
        await self._server.stop(seconds)

    def _add_services(self, services: Services) -> None:
        interceptor = Interceptor(services.calls, self._settings.default_deadline_seconds)
        handlers: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for rpc, unary in services.unary.items():
            handlers[rpc.service][rpc.name] = interceptor.unary(rpc, unary)
        for rpc, stream in services.streams.items():
            handlers[rpc.service][rpc.name] = interceptor.stream(rpc, stream)
        for service, methods in handlers.items():
            self._server.add_registered_method_handlers(service, methods)  # type: ignore[attr-defined]  # newer than stubs
        health_pb2_grpc.add_HealthServicer_to_server(services.health, self._server)
        if self._settings.reflection:
            names = [*(service.full_name for service in SERVICES), health_service.SERVICE, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self._server)


def check_address(host: str, port: int) -> None:
    """Try to listen there, to fail with a clear message.

    Raises:
        ConfigurationError: the port is taken, or the host is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        msg = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(msg, field="port") from error


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    options = [
        *KEEPALIVE,
        ("grpc.max_receive_message_length", TRANSPORT_SLACK * settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
    ]
    if settings.max_connection_age_seconds:
        options.append(("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)))
    return options
