"""How versions, manifests and aliases are printed, as tables and as JSON. Asks nobody anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from munjang.cli import console
from munjang.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from munjang.client import AliasInfo, VersionInfo
    from munjang.registry import AliasRecord, Manifest, Registry

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Serving:
    """How versions and aliases stand in a server."""

    versions: Mapping[int, VersionInfo]
    aliases: Mapping[str, AliasInfo]


@dataclass(frozen=True)
class Listing:
    """The versions of a registry, newest first, and its aliases; `broken` are those whose manifest cannot be read."""

    url: str
    manifests: Sequence[Manifest]
    broken: Mapping[int, str]
    aliases: Mapping[str, AliasRecord]
    serving: Serving | None

    @classmethod
    def of(cls, registry: Registry, serving: Serving | None) -> Listing:
        """Read a registry."""
        manifests, broken = [], {}
        for number in reversed(registry.versions()):
            try:
                manifests.append(registry.manifest(number))
            except RegistryError as error:
                broken[number] = str(error)
        return cls(registry.url, manifests, broken, registry.aliases(), serving)

    def json(self) -> dict[str, Any]:
        """The listing as JSON."""
        return {
            "registry": self.url,
            "versions": [
                manifest_json(manifest, self._names(manifest.version), files=False) | self._state(manifest.version)
                for manifest in self.manifests
            ],
            "broken": {str(number): reason for number, reason in self.broken.items()},
            "aliases": {name: _alias_json(record) | self._served(name) for name, record in self.aliases.items()},
        }

    def table(self) -> Table:
        """The listing as a table."""
        table = Table(title=f"models in {escape(self.url)}", title_justify="left")
        for name in ("version", "aliases", "published", "dimensions", "tokens", "MiB", "base model", "metrics"):
            table.add_column(name, justify="right" if name in {"version", "dimensions", "tokens", "MiB"} else "left")
        if self.serving:
            table.add_column("state")
        for manifest in self.manifests:
            table.add_row(*_cells(manifest, self._names(manifest.version)), *self._state_cell(manifest.version))
        for number, reason in self.broken.items():
            table.add_row(str(number), "", f"[red]{escape(reason)}[/]")
        return table

    def _names(self, version: int) -> list[str]:
        return sorted(name for name, record in self.aliases.items() if record.version == version)

    def _state(self, version: int) -> dict[str, Any]:
        if not self.serving:
            return {}
        info = self.serving.versions.get(version)
        return {"state": info.state, "reason": info.reason} if info else {"state": "unknown", "reason": ""}

    def _state_cell(self, version: int) -> list[str]:
        state = self._state(version)
        return [escape(": ".join(filter(None, (state["state"], state["reason"]))))] if state else []

    def _served(self, alias: str) -> dict[str, Any]:
        if not self.serving:
            return {}
        info = self.serving.aliases.get(alias)
        return {"serving": info.serving if info else 0}


def manifest_json(manifest: Manifest, aliases: Sequence[str], *, files: bool = True) -> dict[str, Any]:
    """A manifest as JSON, without the probe vectors."""
    content = manifest.model_dump(mode="json", exclude={"probes"} if files else {"probes", "files"})
    return content | {"aliases": list(aliases), "size_bytes": manifest.size_bytes}


def manifest_table(manifest: Manifest, aliases: Sequence[str]) -> Table:
    """A manifest as a table of two columns."""
    table = Table(title=f"version {manifest.version}", title_justify="left", show_header=False)
    rows = {
        "aliases": ", ".join(aliases),
        "published": f"{manifest.created_at:%Y-%m-%d %H:%M:%S %Z}",
        "dimensions": str(manifest.dimensions),
        "shorter dimensions": ", ".join(map(str, manifest.matryoshka_dimensions)),
        "max tokens": str(manifest.max_tokens),
        "similarity": manifest.similarity,
        "prompts": "\n".join(f"{name}: {prompt!r}" for name, prompt in manifest.prompts.items()),
        "default prompt": manifest.default_prompt,
        "int8 scale": f"{manifest.int8_scale:.6g}" if manifest.int8_scale else "none",
        "languages": ", ".join(manifest.languages),
        "base model": manifest.base_model,
        "recipe": manifest.recipe,
        "data": manifest.data_fingerprint,
        "metrics": "\n".join(f"{name}: {value:.4f}" for name, value in manifest.metrics.items()),
        "probes": f"{len(manifest.probes)} texts with their vectors",
        "libraries": ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
        "files": "\n".join(f"{entry.path}  {entry.size:,}  {entry.sha256[:12]}" for entry in manifest.files),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    return table


def moved(alias: str, record: AliasRecord, *, as_json: bool) -> None:
    """Say where an alias points now."""
    if as_json:
        console.print_json({"alias": alias} | _alias_json(record))
        return
    before = f"; it named version {record.previous} before" if record.previous else ""
    console.stdout().print(f"{alias} names version {record.version} now{before}", markup=False)


def verified(numbers: Sequence[int], problems: Mapping[int, str], *, as_json: bool) -> None:
    """Say of each version whether it is as published."""
    if as_json:
        verdicts = [
            {"version": number, "ok": number not in problems, "problem": problems.get(number, "")} for number in numbers
        ]
        console.print_json({"verified": verdicts})
        return
    out = console.stdout()
    for number in numbers:
        verdict = f"[red]{escape(problems[number])}[/]" if number in problems else "[green]as published[/]"
        out.print(f"version {number}: {verdict}", soft_wrap=True)


def _cells(manifest: Manifest, aliases: Sequence[str]) -> list[str]:
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in manifest.metrics.items())
    return [
        str(manifest.version),
        ", ".join(aliases),
        f"{manifest.created_at:%Y-%m-%d %H:%M}",
        str(manifest.dimensions),
        str(manifest.max_tokens),
        f"{manifest.size_bytes / MEBIBYTE:.0f}",
        escape(manifest.base_model),
        escape(metrics),
    ]


def _alias_json(record: AliasRecord) -> dict[str, Any]:
    return record.model_dump(mode="json")
