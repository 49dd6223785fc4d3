"""munjang: Korean sentence embeddings, trained, served and hot-swapped.

Callers need only `munjang.client`, of which `Client` and `AsyncClient` are here too. `munjang.encoder`,
`munjang.engine` and `munjang.registry` are the core that the three programs `munjang_server`, `munjang_worker` and
`munjang_trainer` share. Importing this package imports none of them: the clients load at their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from munjang.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """The clients, which need numpy and grpc."""
    if name in {"AsyncClient", "Client"}:
        return getattr(importlib.import_module("munjang.client"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
