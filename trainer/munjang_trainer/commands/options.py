"""Options that several commands have, and the settings that they overrule."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from munjang.errors import ConfigurationError
from munjang.settings import TrainerSettings


def settings_with(**changes: Any) -> TrainerSettings:
    """The settings of the environment with those overruled that are given (not empty).

    Raises:
        ConfigurationError: a value is not valid.
    """
    try:
        return TrainerSettings(**{name: value for name, value in changes.items() if value})
    except ValidationError as error:
        problem = error.errors()[0]
        msg = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise ConfigurationError(msg, field=str(problem["loc"][0])) from error
