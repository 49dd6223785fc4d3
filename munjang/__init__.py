"""munjang: Korean sentence embeddings, trained, served and hot-swapped.

`munjang.client` is what callers need; `munjang.encoder`, `munjang.engine` and `munjang.registry` are the core that the
three programs `server`, `worker` and `trainer` share. Importing this package imports none of them.
"""

__version__ = "0.1.0"
