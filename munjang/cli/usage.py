"""The error of a command line that cannot mean anything: exit status 2, in one line."""

from __future__ import annotations

from munjang.errors import ConfigurationError


class WrongUsage(ConfigurationError):
    """An option or argument that cannot work, whatever the state of files and servers."""
