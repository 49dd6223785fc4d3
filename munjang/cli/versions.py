"""`munjang versions …`: lists the registry, moves aliases, and prints both as tables and JSON."""

import getpass
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from munjang.cli import console, extras, options
from munjang.cli.lazy import completes
from munjang.cli.programs import shell_command
from munjang.cli.serving import Serving, ask
from munjang.cli.tables import Column, fitted
from munjang.cli.usage import WrongUsage
from munjang.errors import ConfigurationError, RegistryError
from munjang.registry import DEFAULT, DEFAULT_OF, AliasRecord, Manifest, Registry

app = typer.Typer(no_args_is_help=True, help="List, publish, promote, roll back, verify and remove model versions.")

Name = Annotated[
    str,
    typer.Argument(help="A version number, a space id or an alias.", autocompletion=completes("versions")),
]
Alias = Annotated[str, typer.Option(help="The alias to move.")]
OwnAlias = Annotated[
    str,
    typer.Option(
        help="The alias to move. Default: stable for a dense model, rerank for a cross-encoder.", show_default=False
    ),
]

Pooling = Literal["mean", "cls", "lasttoken", "max", "mean_sqrt_len_tokens", "weightedmean"]
"""As `munjang.publishing` has them, which needs torch to say so."""

MEBIBYTE = 1 << 20

METRICS = 2
"""The most metrics of a version in the list; `versions show` has all."""

COLUMNS = (
    Column("version", right=True),
    Column("aliases", folds=True),
    Column("space", 1),
    Column("published", 3),
    Column("kind", 2),
    Column("dimensions", 4, right=True),
    Column("tokens", 5, right=True),
    Column("MiB", 6, right=True),
    Column("base model", 7, folds=True),
    Column("metrics", 8, folds=True),
)
"""Of a listing, with what `_cells` puts into them."""

SPACE_DIGITS = 8
"""Of a space id in a table, enough to see which versions share a space; `show` has all 32."""


@app.command("list")
@options.calls_server
def list_versions(
    *,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """List the versions of the registry, newest first, and their states in a server.

    The server is that of --target, MUNJANG_TARGET or a running `munjang up`; without one only the registry is read.

    Examples:
      munjang versions list

      munjang versions list --target 127.0.0.1:50051 --json
    """
    found = _open(registry)
    listing = Listing.of(found, ask(server, found))
    if as_json:
        console.print_json(listing.json())
    else:
        screen = console.stdout()
        screen.print(listing.table(screen.width))
    for number, reason in listing.broken.items():
        console.note(f"version {number}: {reason}")
    for alias, problem in found.alias_problems().items():
        console.note(f"alias {alias}: {problem}")


@app.command()
def show(name: Name = DEFAULT, *, registry: options.RegistryUrl = "", as_json: options.Json = False) -> None:
    """Describe one version: dimensions, prompts, metrics, where it comes from, its files.

    Examples:
      munjang versions show 7

      munjang versions show stable --json
    """
    found = _open(registry)
    manifest = found.manifest(found.resolve(name))
    aliases = [alias for alias, record in found.aliases().items() if record.version == manifest.version]
    if as_json:
        console.print_json(_manifest_json(manifest, aliases))
    else:
        console.stdout().print(_manifest_table(manifest, aliases))


@app.command()
@options.calls_server
def publish(
    model: Annotated[str, typer.Argument(help="A model folder, or an id on the Hugging Face hub. A folder wins.")],
    *,
    revision: Annotated[str, typer.Option(help="A branch, tag or commit of the hub.")] = "",
    pooling: Annotated[
        Pooling | None,
        typer.Option(help="How token vectors become one vector of a text, for a folder that does not say it."),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="Words that the model expects before a text; may be repeated."),
    ] = None,
    default_prompt: Annotated[str, typer.Option(help="The prompt of texts that ask for none, by name.")] = "",
    max_tokens: Annotated[int, typer.Option(help="The most tokens of a text. Default: what the files say.", min=0)] = 0,
    promote: Annotated[bool, typer.Option("--promote", help="Point the alias at it at once.")] = False,
    alias: OwnAlias = "",
    base_model: Annotated[str, typer.Option(help="What it was made from, for the record.")] = "",
    recipe: Annotated[str, typer.Option(help="How it was made, for the record.")] = "",
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Publish a model as the next version. No alias moves unless --promote is given.

    What the files of a model do not say, the options do; for models that `munjang models list` shows, nothing needs to
    be said. Pickled weights (pytorch_model.bin) are converted, an adapter (LoRA) is merged into its base.

    `munjang train publish` also measures the model first, and refuses one that is worse.

    Examples:
      munjang versions publish my-model

      munjang versions publish nlpai-lab/KURE-v1 --promote

      munjang versions publish ./my-simcse --pooling cls --max-tokens 128

      munjang versions publish ./my-e5 --prompts "query=query: " --prompts "document=passage: "
    """
    given = _named_prompts(prompts or [])
    if lacking := extras.missing("models"):
        msg = f"publishing loads the model, and {lacking} is not installed: {extras.hint('models')}"
        raise ConfigurationError(msg)
    from munjang import publishing  # noqa: PLC0415 - needs torch, which the others must not wait for

    found = _open(registry, new=True)
    if not found.exists():
        console.note(f"there is no registry at {found.url} yet: it is made")
    ask(server, found)  # says at once that the server would not see the version
    source = publishing.find_model(model, revision, tell=console.note)
    with console.progress("publishing", source.size_bytes) as advance:
        manifest = publishing.publish_source(
            found,
            source,
            publishing.Lineage(base_model=base_model, recipe=recipe),
            options=publishing.Options(pooling or "", given, default_prompt, max_tokens),
            tell=console.note,
            progress=advance,
        ).manifest
    alias = alias or DEFAULT_OF[manifest.kind]
    if promote:
        found.promote(alias, manifest.version, _who())
    same = [version for version in found.in_space(manifest.space_id) if version != manifest.version]
    if same:
        console.note(f"the same space as version {_listed(same)}: vectors of both may be compared")
    if as_json:
        console.print_json(_manifest_json(manifest, [alias] if promote else []))
        return
    moved = (
        f", and {alias} names it now"
        if promote
        else f"; `{shell_command('munjang')} versions promote {manifest.version}` lets it serve"
    )
    published = f"published version {manifest.version} (space {manifest.space_id}) to {found.url}{moved}"
    console.stdout().print(published, soft_wrap=True, markup=False)


def _named_prompts(given: Sequence[str]) -> dict[str, str]:
    """The prompts of --prompts by name.

    Raises:
        WrongUsage: one has no name.
    """
    prompts = {}
    for prompt in given:
        name, equals, text = prompt.partition("=")
        if not equals or not name.strip():
            msg = f"--prompts takes NAME=TEXT (--prompts 'query=query: '), and {prompt!r} is not that"
            raise WrongUsage(msg, field="prompts")
        prompts[name.strip()] = text
    return prompts


@app.command()
@options.calls_server
def promote(
    name: Name,
    *,
    alias: OwnAlias = "",
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Point an alias at a version. Servers load and check it beside the old one, then switch; no call fails.

    Examples:
      munjang versions promote 8

      munjang versions promote 8 --alias canary
    """
    found = _open(registry)
    ask(server, found)
    version = found.resolve(name)
    alias = alias or DEFAULT_OF[found.manifest(version).kind]
    _print_alias(alias, found.promote(alias, version, _who()), as_json=as_json)


@app.command()
@options.calls_server
def rollback(
    *,
    alias: Alias = DEFAULT,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Point an alias at the version that it named before. A second rollback goes forward again.

    Example:
      munjang versions rollback
    """
    found = _open(registry)
    ask(server, found)
    _print_alias(alias, found.rollback(alias, _who()), as_json=as_json)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Versions or aliases. Default: all.", autocompletion=completes("versions")),
    ] = None,
    *,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
) -> None:
    """Read every file of versions and compare it with the manifest. Exit status 1 if one is not as published.

    Examples:
      munjang versions verify

      munjang versions verify 7 stable
    """
    found = _open(registry)
    numbers = sorted({found.resolve(name) for name in names}) if names else found.versions()
    problems: dict[int, str] = {}
    for number in numbers:
        try:
            with console.progress(f"verifying {number}", found.manifest(number).size_bytes) as advance:
                found.verify(number, progress=advance)
        except RegistryError as error:
            problems[number] = str(error)
    _print_verdicts(numbers, problems, as_json=as_json)
    if problems:
        raise typer.Exit(1)


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="Version numbers.", autocompletion=completes("versions"))],
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if an alias could roll back to it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
) -> None:
    """Remove versions for good. One that an alias names is refused.

    Examples:
      munjang versions remove 3

      munjang versions remove 3 4 --force --yes
    """
    found = _open(registry)
    numbers = [found.manifest(found.resolve(name)).version for name in names]
    listed = _listed(numbers)
    if sys.stdin is not None and sys.stdin.isatty() and not yes:
        typer.confirm(f"Remove {listed} from {found.url} for good?", abort=True)
    for number in numbers:
        found.remove(number, force=force)
    if as_json:
        console.print_json({"removed": numbers})
    else:
        console.stdout().print(f"removed {listed}", markup=False)


def _open(url: str, *, new: bool = False) -> Registry:
    """The registry at `url` or of the settings, which must exist unless it may be `new`."""
    registry = Registry(url or options.found_settings().registry_url)
    if not (new or registry.exists()):
        msg = f"there is no registry at {registry.url}: name one by --registry or MUNJANG_REGISTRY, or publish to it"
        raise RegistryError(msg)
    return registry


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _who() -> str:
    """Who moves an alias, for the record."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return socket.gethostname()


@dataclass(frozen=True)
class Listing:
    """The versions of a registry, newest first, and its aliases; `broken` are those whose manifest cannot be read."""

    url: str
    registry_id: str
    manifests: Sequence[Manifest]
    broken: Mapping[int, str]
    aliases: Mapping[str, AliasRecord]
    serving: Serving | None

    @classmethod
    def of(cls, registry: Registry, serving: Serving | None) -> "Listing":
        """Read a registry."""
        manifests, broken = [], {}
        for number in reversed(registry.versions()):
            try:
                manifests.append(registry.manifest(number))
            except RegistryError as error:
                broken[number] = str(error)
        return cls(registry.url, registry.identity(), manifests, broken, registry.aliases(), serving)

    def json(self) -> dict[str, Any]:
        """The listing as JSON."""
        return {
            "registry": self.url,
            "registry_id": self.registry_id,
            "versions": [
                _manifest_json(manifest, self._names(manifest.version), files=False) | self._state(manifest)
                for manifest in self.manifests
            ],
            "broken": {str(number): reason for number, reason in self.broken.items()},
            "aliases": {
                name: record.model_dump(mode="json") | self._served(name) for name, record in self.aliases.items()
            },
            **({"server": self.serving.json()} if self.serving else {}),
        }

    def table(self, width: int) -> Table:
        """The listing as a table of at most `width` characters."""
        columns = [*COLUMNS[:2], *([Column("state", folds=True)] if self.serving else []), *COLUMNS[2:]]
        rows = []
        for manifest in self.manifests:
            first, aliases, *rest = _cells(manifest, self._names(manifest.version))
            rows.append([first, aliases, *self._state_cell(manifest), *rest])
        nothing = [""] * (len(columns) - 2)
        rows += [[str(number), "[red]cannot be read[/]", *nothing] for number in self.broken]
        return fitted(columns, rows, width, f"models in {escape(self.url)}")

    def _names(self, version: int) -> list[str]:
        return sorted(name for name, record in self.aliases.items() if record.version == version)

    def _state(self, manifest: Manifest) -> dict[str, Any]:
        return self.serving.state(manifest) if self.serving else {}

    def _state_cell(self, manifest: Manifest) -> list[str]:
        state = self._state(manifest)
        if not state:
            return []
        other = state["server_version"] not in {None, manifest.version}
        there = f"{state['state']} as {state['server_version']}" if other else state["state"]
        return [escape(": ".join(filter(None, (there, state["reason"]))))]

    def _served(self, alias: str) -> dict[str, Any]:
        if not (self.serving and self.serving.same):
            return {}
        info = self.serving.aliases.get(alias)
        return {"serving": info.serving if info else 0}


def _manifest_json(manifest: Manifest, aliases: Sequence[str], *, files: bool = True) -> dict[str, Any]:
    """A manifest as JSON, without the probe vectors."""
    content = manifest.model_dump(mode="json", exclude={"probes"} if files else {"probes", "files"})
    return content | {"aliases": list(aliases), "size_bytes": manifest.size_bytes}


def _manifest_table(manifest: Manifest, aliases: Sequence[str]) -> Table:
    """A manifest as a table of two columns."""
    table = Table(title=f"version {manifest.version}", title_justify="left", show_header=False)
    rows = {
        "aliases": ", ".join(aliases),
        "space": manifest.space_id,
        "kind": manifest.kind,
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
        "from": ", ".join(f"{name} {value}" for name, value in manifest.provenance.items()),
        "metrics": "\n".join(f"{name}: {value:.4f}" for name, value in manifest.metrics.items()),
        "probes": f"{len(manifest.probes)} texts with their vectors",
        "libraries": ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
        "files": "\n".join(f"{entry.path}  {entry.size:,}  {entry.sha256[:12]}" for entry in manifest.files),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    return table


def _print_alias(alias: str, record: AliasRecord, *, as_json: bool) -> None:
    """Print where an alias points now."""
    if as_json:
        console.print_json({"alias": alias} | record.model_dump(mode="json"))
        return
    before = f"; it named version {record.previous} before" if record.previous else ""
    console.stdout().print(f"{alias} names version {record.version} now{before}", markup=False)


def _print_verdicts(numbers: Sequence[int], problems: Mapping[int, str], *, as_json: bool) -> None:
    """Print for each version whether it is as published."""
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
    known = [f"{name} {value:.3f}" for name, value in manifest.metrics.items()]
    metrics = ", ".join(known[:METRICS]) + (", …" if len(known) > METRICS else "")
    return [
        str(manifest.version),
        ", ".join(aliases),
        manifest.space_id[:SPACE_DIGITS],
        f"{manifest.created_at:%Y-%m-%d %H:%M}",
        str(manifest.kind),
        str(manifest.dimensions),
        str(manifest.max_tokens),
        f"{manifest.size_bytes / MEBIBYTE:.0f}",
        escape(manifest.base_model),
        escape(metrics),
    ]
