"""munjang: Korean sentence embeddings, trained, served and hot-swapped.

Callers need only `munjang.client`. `munjang.encoder`, `munjang.engine` and `munjang.registry` are the core that the
three programs `munjang_server`, `munjang_worker` and `munjang_trainer` share. Importing this package imports none of
them; `munjang.Encoder`, which runs a model in this process, is imported when it is first named.
"""

import importlib

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Encoder":
        return importlib.import_module("munjang.local_encoder").Encoder
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
