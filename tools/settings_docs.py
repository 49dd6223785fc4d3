"""Writes docs/settings.md from munjang/settings (`make docs`); `--check` only says whether it is current."""

from __future__ import annotations

import html
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from munjang import settings
from tools.generated_page import write_or_check

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """# Settings reference

<!-- Written by `make docs` from munjang/settings. Edit that file, not this one. -->

Every setting is an environment variable. A program reads them once, when it starts, and refuses a value that is out of
range, naming the setting and the reason. Options of the command line win over the environment.
"""

NUMBERS = {int: "integer", float: "number"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def page() -> str:
    """The page: a section for each class of settings, the shared ones before those that add to them."""
    return "\n".join([HEAD, *filter(None, map(section, family(settings.Settings)))])


def family(parent: type[settings.Settings]) -> list[type[settings.Settings]]:
    """A class of settings and all that add to it."""
    children = [child for child in parent.__subclasses__() if child.__module__.startswith(settings.__name__)]
    below = [member for child in children for member in family(child)]
    return [parent, *dict.fromkeys(below)]


def section(members: type[settings.Settings]) -> str:
    """What one class adds to its parents, or "" if it adds nothing."""
    names = [name for name in members.model_fields if name in members.__annotations__]
    if not names:
        return ""
    parents = [parent.__name__ for parent in reversed(members.__mro__[1:]) if issubclass(parent, settings.Settings)]
    lines = [f"## {members.__name__}\n\n{inspect.getdoc(members)}"]
    if parents:
        lines.append("\nThe same program reads " + ", ".join(f"[{name}](#{name.lower()})" for name in parents) + ".")
    lines += ["\n| variable | value | default | what it does |", "| --- | --- | --- | --- |"]
    lines += [row(name, members.model_fields[name]) for name in names]
    return "\n".join(lines) + "\n"


def row(name: str, field: FieldInfo) -> str:
    """One setting as a row of a table."""
    default = "" if field.default == "" else f"`{shown(field.default)}`"
    about = html.escape(field.description or "", quote=False).replace("|", "\\|")
    return f"| `MUNJANG_{name.upper()}` | {kind(field)} | {default} | {about} |"


def kind(field: FieldInfo) -> str:
    """What values a setting takes, in words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true` or `false`"
    if field.annotation is Path:
        return "path"
    if field.annotation not in NUMBERS:
        return "text"
    bounds = [
        f"{words} {shown(getattr(constraint, bound))}"
        for constraint in field.metadata
        for bound, words in BOUNDS.items()
        if hasattr(constraint, bound)
    ]
    return ", ".join([NUMBERS[field.annotation], *bounds])


def shown(value: object) -> str:
    """A value as one writes it into the environment."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> int:
    """Write the page, or with `--check` return 1 where it is not current."""
    return write_or_check(PAGE, page(), "docs/settings.md is not what munjang/settings says")


if __name__ == "__main__":
    sys.exit(main())
