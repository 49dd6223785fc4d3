"""Confinement: which places jobs may read and write, where the settings name roots."""

from __future__ import annotations

import os
import posixpath
from urllib.parse import unquote

from munjang.bulk.job import absolute
from munjang.errors import InvalidJob


def split_roots(setting: str) -> tuple[str, ...]:
    """The roots of a setting: paths or URLs with commas between."""
    return tuple(absolute(root) for part in setting.split(",") if (root := part.strip()))


def confine(url: str, roots: tuple[str, ...], field: str) -> None:
    """Refuse a path or URL that is not below one of the roots; no roots allow everything. Links are followed first.

    Raises:
        InvalidJob: it is not; `field` names the job's option.
    """
    if roots and not any(_is_below(url, root) for root in roots):
        msg = f"{field}: {url!r} is outside of the places that this worker may use"
        raise InvalidJob(msg, field=field)


def _is_below(url: str, root: str) -> bool:
    if "::" in url or ("://" in url) != ("://" in root):
        return False
    if "://" in url:
        return all(is_within(_plain(form), _plain(root)) for form in (url, unquote(url)))
    return is_within(os.path.realpath(url), os.path.realpath(root))


def _plain(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{posixpath.normpath(rest)}"


def is_within(path: str, root: str) -> bool:
    """Whether a path without links is a root, or below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")
