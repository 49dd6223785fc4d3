"""Plain data to and from Redis: reads JSON and pickle alike, and neither can create objects or call anything.

RQ's senders choose pickle (the default of `rq enqueue`) or JSON (`-S json`). The first byte of the data tells which. A
pickle may hold numbers, strings, bytes, lists, tuples, sets and dicts, and nothing that needs an import. Output uses
the format of the other side, so plain RQ programs can read results and metadata.
"""

from __future__ import annotations

import io
import json
import pickle
from typing import Any, NoReturn

_PICKLE = b"\x80"
"""How every pickle of protocol 2 or later begins; JSON text never does."""


class UnsafeData(ValueError):
    """Data that would need an import to be read; nothing of it was run."""


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain data and refuses whatever names a class or function."""

    def find_class(self, module: str, name: str) -> NoReturn:
        msg = f"a pickle that needs {module}.{name} is refused: only plain data may come through the queue"
        raise UnsafeData(msg)

    def persistent_load(self, pid: object) -> NoReturn:
        msg = f"a pickle with the persistent id {pid!r} is refused"
        raise UnsafeData(msg)


def loads(data: bytes) -> Any:
    """Read JSON, or a pickle of plain data.

    Raises:
        UnsafeData: a pickle that needs an import, or bytes that are neither.
    """
    data = bytes(data)
    if data[:1] == _PICKLE:
        try:
            return _PlainUnpickler(io.BytesIO(data)).load()
        except UnsafeData:
            raise
        except Exception as error:  # a broken pickle can raise almost anything
            msg = "the data is not a valid pickle"
            raise UnsafeData(msg) from error
    try:
        return json.loads(data)
    except ValueError as error:
        msg = "the data is neither JSON nor a pickle of plain data"
        raise UnsafeData(msg) from error


class PlainJson:
    """Writes JSON, reads both."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Plain data as JSON."""
        return json.dumps(value, ensure_ascii=False).encode()

    loads = staticmethod(loads)


class PlainPickle:
    """Writes pickles of plain data, reads both. What cannot be JSON is not plain, and is refused."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Plain data as a pickle."""
        return pickle.dumps(json.loads(json.dumps(value)))

    loads = staticmethod(loads)


def like(data: bytes) -> type[PlainJson | PlainPickle]:
    """The serializer that answers in the format of `data`."""
    return PlainPickle if data[:1] == _PICKLE else PlainJson
