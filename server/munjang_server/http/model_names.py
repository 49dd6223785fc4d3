"""What HTTP callers may write as the model: our names, names that the server maps, and a role at their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from munjang.errors import ConfigurationError
from munjang.v1 import resources_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.engine.contract import EngineContract

ENDS: Final = {"-query": resources_pb2.ROLE_QUERY, "-passage": resources_pb2.ROLE_DOCUMENT}
ANY = "*"

Named = tuple[str, resources_pb2.Role.ValueType]
"""A version as our contract names it, and a role."""


class ModelNames:
    """Resolves names of models.

    Args:
        setting: more names, as `ServerSettings.model_names` has them.
        engine: says which names are our own.

    Attributes:
        mapped: the names of the setting, and the versions that they stand for; without `*`.

    Raises:
        ConfigurationError: the setting is not valid.
    """

    def __init__(self, setting: str, engine: EngineContract) -> None:
        self.mapped: Mapping[str, str] = _parse(setting)
        self._engine = engine
        self._any = self.mapped.pop(ANY, "")

    def resolve(self, name: str) -> Named:
        """The version that a name stands for, and the role that its end says; a name that nobody knows is returned."""
        found = self._known(name)
        if found is not None:
            return found, resources_pb2.ROLE_UNSPECIFIED
        for end, role in ENDS.items():
            if name.endswith(end):
                start = name.removesuffix(end)
                found = self._known(start)
                return start if found is None else found, role
        return self._any or name, resources_pb2.ROLE_UNSPECIFIED

    def _known(self, name: str) -> str | None:
        if name in self.mapped:
            return self.mapped[name]
        return name if not name or name.isdecimal() or self._is_ours(name) else None

    def _is_ours(self, name: str) -> bool:
        return any(name == alias.name for alias in self._engine.aliases()) or any(
            status.manifest is not None and name == status.manifest.space_id for status in self._engine.versions()
        )


def _parse(setting: str) -> dict[str, str]:
    names = {}
    for part in filter(None, map(str.strip, setting.split(","))):
        name, equals, version = map(str.strip, part.rpartition("="))
        if not (name and equals and version):
            msg = f"MUNJANG_MODEL_NAMES has {part!r}; write NAME=VERSION, with commas between"
            raise ConfigurationError(msg, field="model_names")
        names[name] = version
    return names
