"""munjang: Korean sentence embeddings, trained, served and hot-swapped.

Callers need only `munjang.client`. `munjang.encoder`, `munjang.engine` and `munjang.registry` are the core that the
three programs `munjang_server`, `munjang_worker` and `munjang_trainer` share. Importing this package imports none of
them.
"""

__version__ = "0.1.0"
