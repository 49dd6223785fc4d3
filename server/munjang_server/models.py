"""ModelService: the versions of the registry as this server sees them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from munjang.engine.contract import VersionState, VersionStatus
from munjang.errors import VersionNotFound
from munjang.registry import DEFAULT
from munjang.v1 import model_service_pb2 as pb2
from munjang.v1 import resources_pb2
from munjang_server.options import SIMILARITY_FUNCTIONS
from munjang_server.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from munjang.engine.contract import AliasStatus, EngineContract
    from munjang_server.call import Call

SERVICE = pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
STATES: Final = {
    VersionState.PUBLISHED: resources_pb2.VERSION_STATE_PUBLISHED,
    VersionState.LOADING: resources_pb2.VERSION_STATE_LOADING,
    VersionState.WARMING: resources_pb2.VERSION_STATE_WARMING,
    VersionState.AVAILABLE: resources_pb2.VERSION_STATE_AVAILABLE,
    VersionState.DRAINING: resources_pb2.VERSION_STATE_DRAINING,
    VersionState.FAILED: resources_pb2.VERSION_STATE_FAILED,
}


class Models:
    """Serves ModelService."""

    def __init__(self, engine: EngineContract, max_message_bytes: int) -> None:
        self._engine = engine
        self._list = Parser(pb2.ListVersionsRequest, max_message_bytes)
        self._get = Parser(pb2.GetVersionRequest, max_message_bytes)

    async def list_versions(self, raw: bytes, call: Call) -> bytes:  # noqa: ARG002 - every handler gets its call
        """All versions and aliases."""
        self._list.parse(raw)
        aliases = self._engine.aliases()
        names = _names(aliases)
        reply = pb2.ListVersionsResponse(
            versions=[model_version(status, names[status.version]) for status in self._engine.versions()],
            aliases=[alias_message(alias) for alias in aliases],
        )
        return reply.SerializeToString()

    async def get_version(self, raw: bytes, call: Call) -> bytes:
        """One version, by number or alias."""
        name = self._get.parse(raw).version or DEFAULT
        aliases = self._engine.aliases()
        numbers = {alias.name: str(alias.serving or alias.version) for alias in aliases}
        for status in self._engine.versions():
            if str(status.version) == numbers.get(name, name):
                call.version = status.version
                reply = pb2.GetVersionResponse(version=model_version(status, _names(aliases)[status.version]))
                return reply.SerializeToString()
        msg = f"there is no version or alias {name[:64]!r}; aliases: {', '.join(numbers) or 'none yet'}"
        raise VersionNotFound(msg, field="version")


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
    return message


def alias_message(alias: AliasStatus) -> pb2.Alias:
    """One alias as a message."""
    return pb2.Alias(name=alias.name, version=alias.version, previous=alias.previous, serving=alias.serving)


def _names(aliases: Iterable[AliasStatus]) -> defaultdict[int, list[str]]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for alias in aliases:
        names[alias.version].append(alias.name)
    return names
