"""munjang: Korean sentence embeddings, trained, served and hot-swapped.

Callers need only `munjang.client`, of which `Client` and `AsyncClient` are here too, and `Encoder`, which runs a model
in this process. `munjang.encoder`, `munjang.engine` and `munjang.registry` are the core that the three programs
`munjang_server`, `munjang_worker` and `munjang_trainer` share. Importing this package imports none of them: what is
named here loads at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from munjang.client import AsyncClient, Client
    from munjang.local_encoder import Encoder

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "Encoder", "__version__"]

_HOMES = {"AsyncClient": "munjang.client", "Client": "munjang.client", "Encoder": "munjang.local_encoder"}


def __getattr__(name: str) -> Any:
    """What needs numpy, grpc or torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
