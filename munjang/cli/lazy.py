"""Commands and completions whose modules load when they are called: listing the names of commands loads none."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True)
class Later:
    """Where a command is.

    Attributes:
        place: MODULE:ATTRIBUTE of the function of a command, or of the Typer of a group of commands.
        help: the first paragraph of its help, for the list of commands.
    """

    place: str
    help: str

    def load(self, name: str, group: TyperGroup) -> Any:
        """The command itself, of that name."""
        module, _, attribute = self.place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            loaded: Any = typer.main.get_group(found)
        else:
            one = typer.Typer(add_completion=False, rich_markup_mode=group.rich_markup_mode)
            one.command(name)(found)
            loaded = typer.main.get_command(one)
        loaded.name = name
        return loaded


def completes(name: str) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    """The function of `munjang.cli.completion` of that name, for `autocompletion=`."""

    def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        module = importlib.import_module("munjang.cli.completion")
        found: list[tuple[str, str]] = getattr(module, name)(context, incomplete)
        return found

    return complete


def mount(app: typer.Typer, commands: dict[str, Later]) -> None:
    """Add commands to the list of an app made with the class that `lazy_group` gives."""
    for name, later in commands.items():
        app.command(name, help=later.help)(_stands_in)


def lazy_group(commands: dict[str, Later]) -> type[TyperGroup]:
    """The class of a group with these commands."""

    class LazyGroup(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            later = commands.get(name or "")
            return name, later.load(str(name), self) if later else command, rest

    return LazyGroup


def _stands_in() -> None:
    """In a list of commands; `LazyGroup` puts the real one in its place before it is called."""
