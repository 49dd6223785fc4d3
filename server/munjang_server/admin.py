"""ModelService's admin methods: aliases moved in the registry, for callers without access to the registry itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from munjang.errors import VersionNotFound
from munjang.registry import DEFAULT
from munjang.v1 import model_service_pb2 as pb2
from munjang_server.models import alias_message
from munjang_server.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.engine.contract import EngineContract
    from munjang.registry import AliasRecord
    from munjang_server.call import Call


class Aliases(Protocol):
    """What is needed of a `Registry`."""

    def promote(self, alias: str, version: int, by: str = "") -> AliasRecord:
        """Let an alias name a version."""

    def rollback(self, alias: str, by: str = "") -> AliasRecord:
        """Let an alias name the version that it named before."""


class Admin:
    """Serves PromoteVersion and RollbackAlias.

    Args:
        registry: where aliases are.
        look: makes the engine look at the registry at once; blocks.
        engine: says what is served.
        max_message_bytes: longer messages are refused.
    """

    def __init__(
        self, registry: Aliases, look: Callable[[], object], engine: EngineContract, max_message_bytes: int
    ) -> None:
        self._registry = registry
        self._look = look
        self._engine = engine
        self._promote = Parser(pb2.PromoteVersionRequest, max_message_bytes)
        self._rollback = Parser(pb2.RollbackAliasRequest, max_message_bytes)

    async def promote(self, raw: bytes, call: Call) -> bytes:
        """Move an alias to a version."""
        request = self._promote.parse(raw)
        alias = request.alias or DEFAULT
        call.version = request.version
        try:
            record = await asyncio.to_thread(self._registry.promote, alias, request.version, by=call.caller.name)
        except VersionNotFound as error:  # the registry's own words name its address
            msg = f"there is no version {request.version} in the registry"
            raise VersionNotFound(msg, field="version") from error
        return pb2.PromoteVersionResponse(alias=await self._moved(alias, record)).SerializeToString()

    async def rollback(self, raw: bytes, call: Call) -> bytes:
        """Move an alias back."""
        alias = self._rollback.parse(raw).alias or DEFAULT
        try:
            record = await asyncio.to_thread(self._registry.rollback, alias, by=call.caller.name)
        except VersionNotFound as error:
            msg = f"the alias {alias[:64]!r} has nothing to go back to: it is unknown, or never named another version"
            raise VersionNotFound(msg, field="alias") from error
        call.version = record.version
        return pb2.RollbackAliasResponse(alias=await self._moved(alias, record)).SerializeToString()

    async def _moved(self, alias: str, record: AliasRecord) -> pb2.Alias:
        """The alias after its move; a version that is resident is served by then."""
        await asyncio.to_thread(self._look)
        for status in self._engine.aliases():
            if status.name == alias:
                return alias_message(status)
        return pb2.Alias(name=alias, version=record.version, previous=record.previous)
