"""Converting a model in a process of its own, so that a program that serves imports no torch and keeps its pace.

`order` is what the two processes say to each other; `process` is the side of the program; `__main__` is the other.
"""

from munjang.engine.converting.process import ConvertingProcess

__all__ = ["ConvertingProcess"]
