"""How a server stands to the registry of a command: the same one or another, and the states of versions there.

Numbers mean something only within one registry; versions of another one are matched by their space, which is what
decides their vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from munjang.cli import console, options
from munjang.errors import MunjangError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from munjang.client import AliasInfo, VersionInfo
    from munjang.registry import Manifest, Registry

ASIDE_SECONDS = 5.0
"""How long a command that does not need a server waits for one that it would ask."""


@dataclass(frozen=True)
class Serving:
    """The versions and aliases of a server, and whether it follows the registry that is looked at.

    Attributes:
        target: its address.
        registry_id: of its registry; "" if it does not say, as an older one.
        same: whether that is the registry, as far as one can tell. Versions must agree in their space besides.
        versions: that it knows.
        aliases: by name.
    """

    target: str
    registry_id: str
    same: bool
    versions: Sequence[VersionInfo]
    aliases: Mapping[str, AliasInfo]

    def state(self, manifest: Manifest) -> dict[str, Any]:
        """How a version of the registry stands in the server: the number there, its state and why it failed."""
        here = [info for info in self.versions if info.space_id == manifest.space_id]
        numbered = [info for info in here if self.same and info.version == manifest.version]
        found = numbered or ([] if self.same else sorted(here, key=lambda info: info.state != "available"))
        if not found:
            return {"state": "unknown", "reason": "", "server_version": None}
        return {"state": found[0].state, "reason": found[0].reason, "server_version": found[0].version}

    def json(self) -> dict[str, Any]:
        """The server as JSON."""
        serving = {name: info.serving for name, info in self.aliases.items()}
        return {
            "target": self.target,
            "registry_id": self.registry_id,
            "same_registry": self.same,
            "serving": serving,
        }


def ask(server: options.Server, registry: Registry) -> Serving | None:
    """What a server says, if one is named by an option, a variable or a running `munjang up`.

    One that no option names and that cannot be reached is noted, and no error.

    Raises:
        MunjangError: the server of --target cannot be reached.
    """
    settings = options.found_settings()
    if not server.target and "target" not in settings.model_fields_set:
        return None
    target = server.target or settings.target
    from munjang.client import RetryPolicy  # noqa: PLC0415 - grpc, which listing a registry does not need

    quick = {} if server.target else {"retry": RetryPolicy(attempts=1), "timeout": ASIDE_SECONDS}
    try:
        with server.connect(**quick) as client:
            identity, versions, aliases = client.registry_id(), client.versions(), client.aliases()
    except MunjangError as error:
        if server.target:
            raise
        console.note(f"the server at {target} was not asked: {error}")
        return None
    same = identity in {"", registry.identity()}
    found = Serving(target, identity, same, versions, aliases)
    if not found.same:
        console.note(_difference(found, registry))
    return found


def _difference(serving: Serving, registry: Registry) -> str:
    ids = f"{serving.registry_id}, here {registry.identity() or 'none'}"
    return (
        f"the server at {serving.target} follows another registry than {registry.url} (id {ids}): equal numbers are "
        "not the same version there, and what is published or promoted here does not reach it; "
        "--registry and --target choose others"
    )
