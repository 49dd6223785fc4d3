"""Settings for the command line: the environment read once, and a wrong value told as one of munjang's errors."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from munjang.errors import ConfigurationError
from munjang.settings import Settings

_Settings = TypeVar("_Settings", bound=Settings)


def read_settings(kind: type[_Settings]) -> _Settings:
    """The settings of a program.

    Raises:
        ConfigurationError: a variable has a value that it cannot have.
    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = "MUNJANG_" + "_".join(map(str, first["loc"])).upper()
        msg = f"{name} is {first['input']!r}: {first['msg']}"
        raise ConfigurationError(msg, field=name) from error
