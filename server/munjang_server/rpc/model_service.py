"""ModelService: the versions of the registry and their states in this server, and the methods that move aliases."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from munjang.engine.contract import VersionState, VersionStatus
from munjang.errors import VersionNotFound
from munjang.kinds import ModelKind
from munjang.registry import DEFAULT
from munjang.v1 import model_service_pb2 as pb2
from munjang.v1 import resources_pb2
from munjang_server.rpc.request_parsing import SIMILARITY_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from munjang.engine.contract import AliasStatus, EngineContract
    from munjang.registry import AliasRecord
    from munjang_server.rpc.calls import Call

SERVICE = pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
STATES: Final = {
    VersionState.PUBLISHED: resources_pb2.VERSION_STATE_PUBLISHED,
    VersionState.LOADING: resources_pb2.VERSION_STATE_LOADING,
    VersionState.WARMING: resources_pb2.VERSION_STATE_WARMING,
    VersionState.AVAILABLE: resources_pb2.VERSION_STATE_AVAILABLE,
    VersionState.DRAINING: resources_pb2.VERSION_STATE_DRAINING,
    VersionState.FAILED: resources_pb2.VERSION_STATE_FAILED,
}


KINDS: Final = {
    ModelKind.DENSE: resources_pb2.MODEL_KIND_DENSE,
    ModelKind.CROSS_ENCODER: resources_pb2.MODEL_KIND_CROSS_ENCODER,
}


class ModelService:
    """Serves ListVersions and GetVersion.

    Args:
        engine: knows the versions.
        registry_id: the id of their registry, "" while it is not known.
    """

    def __init__(self, engine: EngineContract, registry_id: Callable[[], str]) -> None:
        self._engine = engine
        self._registry_id = registry_id

    async def list_versions(self, request: pb2.ListVersionsRequest, call: Call) -> pb2.ListVersionsResponse:  # noqa: ARG002 - every handler gets both
        """All versions and aliases."""
        aliases = self._engine.aliases()
        names = _names(aliases)
        return pb2.ListVersionsResponse(
            versions=[model_version(status, names[status.version]) for status in self._engine.versions()],
            aliases=[alias_message(alias) for alias in aliases],
            registry_id=self._registry_id(),
        )

    async def get_version(self, request: pb2.GetVersionRequest, call: Call) -> pb2.GetVersionResponse:
        """One version, by number or alias, or the newest available of a space."""
        name = request.version or DEFAULT
        aliases = self._engine.aliases()
        numbers = {alias.name: str(alias.serving or alias.version) for alias in aliases}
        for status in sorted(self._engine.versions(), key=_is_available, reverse=True):
            manifest = status.manifest
            space_id = manifest.space_id if manifest else ""
            if numbers.get(name, name) in {str(status.version), space_id}:
                call.version, call.space_id = status.version, space_id
                return pb2.GetVersionResponse(version=model_version(status, _names(aliases)[status.version]))
        msg = f"there is no version, alias or space {name[:64]!r}; aliases: {', '.join(numbers) or 'none yet'}"
        raise VersionNotFound(msg, field="version")


class AliasStore(Protocol):
    """Where aliases are moved: a `Registry`."""

    def promote(self, alias: str, version: int, by: str = "") -> AliasRecord:
        """Point an alias at a version."""

    def rollback(self, alias: str, by: str = "") -> AliasRecord:
        """Point an alias at the version that it named before."""


class AliasAdmin:
    """Serves PromoteVersion and RollbackAlias.

    Args:
        registry: where aliases are.
        refresh: makes the engine read the registry at once; blocks.
        engine: says what is served.
    """

    def __init__(self, registry: AliasStore, refresh: Callable[[], object], engine: EngineContract) -> None:
        self._registry = registry
        self._refresh = refresh
        self._engine = engine

    async def promote(self, request: pb2.PromoteVersionRequest, call: Call) -> pb2.PromoteVersionResponse:
        """Move an alias to a version."""
        alias = request.alias or DEFAULT
        call.version = request.version
        try:
            record = await asyncio.to_thread(self._registry.promote, alias, request.version, by=call.caller.name)
        except VersionNotFound as error:  # the registry's own words name its address
            msg = f"there is no version {request.version} in the registry"
            raise VersionNotFound(msg, field="version") from error
        return pb2.PromoteVersionResponse(alias=await self._after_move(alias, record))

    async def rollback(self, request: pb2.RollbackAliasRequest, call: Call) -> pb2.RollbackAliasResponse:
        """Move an alias back."""
        alias = request.alias or DEFAULT
        try:
            record = await asyncio.to_thread(self._registry.rollback, alias, by=call.caller.name)
        except VersionNotFound as error:
            msg = f"the alias {alias[:64]!r} cannot be rolled back: it is unknown, or never named another version"
            raise VersionNotFound(msg, field="alias") from error
        call.version = record.version
        return pb2.RollbackAliasResponse(alias=await self._after_move(alias, record))

    async def _after_move(self, alias: str, record: AliasRecord) -> pb2.Alias:
        """The alias after its move; if the version is resident, it is served by then."""
        await asyncio.to_thread(self._refresh)
        for status in self._engine.aliases():
            if status.name == alias:
                return alias_message(status)
        return pb2.Alias(name=alias, version=record.version, previous=record.previous)


def model_version(status: VersionStatus, aliases: list[str]) -> resources_pb2.ModelVersion:
    """One version as a message."""
    message = resources_pb2.ModelVersion(
        version=status.version, state=STATES[status.state], reason=status.reason, aliases=sorted(aliases)
    )
    manifest = status.manifest
    if manifest is None:
        return message
    message.dimensions = manifest.dimensions
    message.max_tokens = manifest.max_tokens
    message.similarity_function = SIMILARITY_FUNCTIONS.get(
        manifest.similarity, resources_pb2.SIMILARITY_FUNCTION_UNSPECIFIED
    )
    message.prompts.update(manifest.prompts)
    message.default_prompt_name = manifest.default_prompt
    message.matryoshka_dimensions.extend(manifest.matryoshka_dimensions)
    message.int8_scale = manifest.int8_scale
    message.languages.extend(manifest.languages)
    message.base_model = manifest.base_model
    message.metrics.update(manifest.metrics)
    message.created_at.FromDatetime(manifest.created_at)
    message.size_bytes = manifest.size_bytes
    message.kind = KINDS[manifest.kind]
    message.space_id = manifest.space_id
    return message


def _is_available(status: VersionStatus) -> bool:
    return status.state is VersionState.AVAILABLE


def alias_message(alias: AliasStatus) -> pb2.Alias:
    """One alias as a message."""
    return pb2.Alias(name=alias.name, version=alias.version, previous=alias.previous, serving=alias.serving)


def _names(aliases: Iterable[AliasStatus]) -> defaultdict[int, list[str]]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for alias in aliases:
        names[alias.version].append(alias.name)
    return names
