"""Reads recipes: a file, or the name of one that ships with munjang, with single values overridden."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from munjang.errors import ConfigurationError
from munjang_trainer.recipe.schema import Config, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

AnyConfig = TypeVar("AnyConfig", bound=Config)

FORM = 2
"""Where pydantic puts the form of a stage into its place: stages, number, form."""

SHIPPED = Path(__file__).parents[1] / "recipes"


def load_recipe(name: str, *, data_folder: str = "", overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        name: a YAML file, or the name of a shipped recipe (`starter-ko`).
        data_folder: overrides `data.folder`.
        overrides: `path=value` as in `stages.0.learning_rate=3e-5`; the value is YAML.

    Raises:
        ConfigurationError: no such file, not YAML, or not a valid recipe; the message names the place.
    """
    path = _find(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for override in overrides:
            _overrule(content, override)
        if data_folder:
            content.setdefault("data", {})["folder"] = data_folder
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
        msg = f"{path} is not a recipe in YAML: {error}"
        raise ConfigurationError(msg, field="recipe") from error
    return parse(Recipe, content, f"the recipe {path}")


def parse(kind: type[AnyConfig], content: Any, what: str) -> AnyConfig:
    """Validate a part of a recipe.

    Raises:
        ConfigurationError: it is not valid; the message names `what` and each place.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{_place(problem['loc'])}{problem['msg']}" for problem in error.errors())
        msg = f"{what} is not valid: {problems}"
        raise ConfigurationError(msg, field="recipe") from error


def shipped() -> list[str]:
    """The names of the recipes that ship with munjang."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every value, defaults included."""
    written: str = yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), allow_unicode=True, sort_keys=False)
    return written


def _find(name: str) -> Path:
    for path in (Path(name), SHIPPED / f"{name}.yaml"):
        if path.is_file():
            return path
    msg = f"there is no recipe {name!r}: name a YAML file or one of {', '.join(shipped())}"
    raise ConfigurationError(msg, field="recipe")


def _overrule(content: Any, override: str) -> None:
    path, equals, value = override.partition("=")
    *parents, last = path.split(".")
    msg = f"{override!r} is not an override: write path=value, as in stages.0.learning_rate=3e-5"
    if not equals:
        raise ConfigurationError(msg, field="set")
    try:
        place = content
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        place[int(last) if isinstance(place, list) else last] = yaml.safe_load(value)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(msg, field="set") from error


def _place(location: tuple[int | str, ...]) -> str:
    """The keys to a place, without the names of the forms of stages, which no recipe has."""
    keys = [str(key) for number, key in enumerate(location) if not (number == FORM and location[0] == "stages")]
    return f"{'.'.join(keys)}: " if keys else ""
