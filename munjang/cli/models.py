"""`munjang models …`: the catalogue of models that Korean teams use, and what each needs. Reads no registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from munjang.cli import console, options
from munjang.cli.tables import Column, fitted
from munjang.errors import ConfigurationError, MunjangError

if TYPE_CHECKING:
    from types import ModuleType

    from munjang.publishing.catalogue import Entry

app = typer.Typer(no_args_is_help=True, help="Show models that Korean teams use, and what each needs.")


COLUMNS = (
    Column("model"),
    Column("kind", 1),
    Column("dimensions", 2, right=True),
    Column("tokens", 3, right=True),
    Column("pooling", 5),
    Column("prompts", 4),
    Column("licence", 6),
)
"""Of the list of models."""


@app.command("list")
def list_models(*, as_json: options.Json = False) -> None:
    """List the models of the catalogue: `munjang versions publish NAME` publishes one by its name.

    Examples:
      munjang models list

      munjang models list --json
    """
    if as_json:
        console.print_json({"models": [_json(entry) for entry in _catalogue().catalogue().values()]})
        return
    rows = [
        [
            entry.name,
            str(entry.kind) if entry.served else "[red]refused[/]",
            str(entry.dimensions or ""),
            str(entry.max_tokens or ""),
            entry.pooling or "",
            ", ".join(name for name, text in entry.prompts.items() if text),
            entry.licence,
        ]
        for entry in _catalogue().catalogue().values()
    ]
    screen = console.stdout()
    screen.print(fitted(COLUMNS, rows, screen.width, "models that munjang knows by name"))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A model's id on the hub, or a part of it.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Show what the catalogue knows of a model.

    Examples:
      munjang models show nlpai-lab/KURE-v1

      munjang models show kosimcse-roberta --json
    """
    entry = _find(name)
    if as_json:
        console.print_json(_json(entry))
        return
    table = Table(title=entry.name, title_justify="left", show_header=False)
    rows = {
        "kind": str(entry.kind),
        "served": "yes" if entry.served else "no",
        "needs": entry.needs,
        "base model": entry.base,
        "pooling": entry.pooling or "",
        "prompts": "\n".join(f"{key}: {text!r}" for key, text in entry.prompts.items()),
        "default prompt": entry.default_prompt,
        "max tokens": str(entry.max_tokens or ""),
        "dimensions": str(entry.dimensions or ""),
        "shorter dimensions": ", ".join(map(str, entry.matryoshka_dimensions)),
        "licence": entry.licence,
        "revision": entry.revision,
        "publish": f"munjang versions publish {entry.name}" if entry.served else "",
    }
    for key, value in rows.items():
        if value:
            table.add_row(key, escape(value))
    console.stdout().print(table)


def _find(name: str) -> Entry:
    """The one model that a name means.

    Raises:
        ConfigurationError: none, or several.
    """
    known = _catalogue()
    entry: Entry | None = known.find_entry(name)
    if entry:
        return entry
    found: list[Entry] = known.like(name)
    if len(found) == 1:
        return found[0]
    names = ", ".join(found_entry.name for found_entry in found or known.catalogue().values())
    what = f"several models have {name!r} in their names" if found else f"the catalogue has no model {name!r}"
    msg = f"{what}; choose one of {names}"
    raise ConfigurationError(msg, field="name")


def _catalogue() -> ModuleType:
    try:
        from munjang.publishing import catalogue  # noqa: PLC0415 - its package needs what runs models
    except ModuleNotFoundError as error:
        msg = f"the catalogue is a part of publishing, and {error.name} is not installed: pip install 'munjang[models]'"
        raise MunjangError(msg) from error
    return catalogue


def _json(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json")
