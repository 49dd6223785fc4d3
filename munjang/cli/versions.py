"""`munjang versions …`: what the registry holds, and moving aliases. What is printed is in `versions_print`."""

import getpass
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from munjang.cli import console, options, versions_print
from munjang.cli.config import read_settings
from munjang.cli.connection import connect
from munjang.cli.programs import spoken
from munjang.errors import MunjangError, RegistryError
from munjang.registry import DEFAULT, Registry
from munjang.settings import Settings

app = typer.Typer(no_args_is_help=True, help="List, publish, promote, roll back, verify and remove model versions.")

Name = Annotated[str, typer.Argument(help="A version number or an alias.")]
Alias = Annotated[str, typer.Option(help="The alias to move.")]


@app.command("list")
def list_versions(
    *,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """List the versions of the registry, newest first; with --target also how they stand in that server.

    Examples:
      munjang versions list

      munjang versions list --target 127.0.0.1:50051 --json
    """
    found = _open(registry)
    serving = None
    if target:
        with connect(target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as client:
            serving = versions_print.Serving({info.version: info for info in client.versions()}, client.aliases())
    listing = versions_print.Listing.of(found, serving)
    if as_json:
        console.print_json(listing.json())
    else:
        console.stdout().print(listing.table())
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
        console.print_json(versions_print.manifest_json(manifest, aliases))
    else:
        console.stdout().print(versions_print.manifest_table(manifest, aliases))


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="A sentence-transformers folder.", exists=True, file_okay=False)],
    *,
    promote: Annotated[bool, typer.Option("--promote", help="Let the alias name it at once.")] = False,
    alias: Alias = DEFAULT,
    base_model: Annotated[str, typer.Option(help="What it was made from, for the record.")] = "",
    recipe: Annotated[str, typer.Option(help="How it was made, for the record.")] = "",
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
) -> None:
    """Publish a model folder as the next version. No alias moves unless --promote is given.

    `munjang train publish` also measures the model first, and refuses one that is worse.

    Examples:
      munjang versions publish my-model

      munjang versions publish my-model --promote --recipe "KorNLI, 1 epoch"
    """
    try:
        from munjang.publishing import publish_model  # noqa: PLC0415 - needs torch, which the others must not wait for
        from munjang.publishing.publish import Lineage  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        msg = f"publishing loads the model, and {error.name} is not installed: pip install 'munjang[models]'"
        raise MunjangError(msg) from error
    found = _open(registry)
    lineage = Lineage(base_model=base_model, recipe=recipe)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    with console.progress("publishing", size) as advance:
        manifest = publish_model(found, folder, lineage, tell=console.note, progress=advance)
    if promote:
        found.promote(alias, manifest.version, _who())
    if as_json:
        console.print_json(versions_print.manifest_json(manifest, [alias] if promote else []))
        return
    moved = (
        f", and {alias} names it now"
        if promote
        else f"; `{spoken('munjang')} versions promote {manifest.version}` lets it serve"
    )
    console.stdout().print(f"published version {manifest.version} to {found.url}{moved}", soft_wrap=True, markup=False)


@app.command()
def promote(
    name: Name,
    *,
    alias: Alias = DEFAULT,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
) -> None:
    """Let an alias name a version. Servers load and check it beside the old one, then switch; no call fails.

    Examples:
      munjang versions promote 8

      munjang versions promote 8 --alias canary
    """
    found = _open(registry)
    versions_print.moved(alias, found.promote(alias, found.resolve(name), _who()), as_json=as_json)


@app.command()
def rollback(*, alias: Alias = DEFAULT, registry: options.RegistryUrl = "", as_json: options.Json = False) -> None:
    """Let an alias name the version that it named before. A second rollback goes forward again.

    Example:
      munjang versions rollback
    """
    versions_print.moved(alias, _open(registry).rollback(alias, _who()), as_json=as_json)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Versions or aliases. Default: all.")] = None,
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
    versions_print.verified(numbers, problems, as_json=as_json)
    if problems:
        raise typer.Exit(1)


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="Version numbers.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if an alias could roll back to it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
) -> None:
    """Remove versions for ever. One that an alias names is refused.

    Examples:
      munjang versions remove 3

      munjang versions remove 3 4 --force --yes
    """
    found = _open(registry)
    numbers = [found.manifest(found.resolve(name)).version for name in names]
    listed = ", ".join(map(str, numbers))
    if sys.stdin.isatty() and not yes:
        typer.confirm(f"Remove {listed} from {found.url} for ever?", abort=True)
    for number in numbers:
        found.remove(number, force=force)
    if as_json:
        console.print_json({"removed": numbers})
    else:
        console.stdout().print(f"removed {listed}", markup=False)


def _open(url: str) -> Registry:
    return Registry(url or read_settings(Settings).registry_url)


def _who() -> str:
    """Who moves an alias, for the record."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return socket.gethostname()
