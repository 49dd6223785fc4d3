"""The URL of an index: which store, where it is, and the name of the index in it.

postgresql://user@host/database/faq · qdrant://host:6333/faq · milvus://host:19530/faq
(+https for TLS) · ./faq.lance, s3://bucket/faq.lance · ./faq.qdrant · ./faq.db (Milvus Lite)
"""

from __future__ import annotations

import importlib
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from munjang.errors import ConfigurationError, InvalidJob
from munjang.index.layout import check_name

if TYPE_CHECKING:
    from munjang.index.sink import Sink

SCHEMES = {
    "postgresql": "pgvector",
    "postgres": "pgvector",
    "qdrant": "qdrant",
    "qdrant+https": "qdrant",
    "milvus": "milvus",
    "milvus+https": "milvus",
}
"""The engine of a server's URL."""

SUFFIXES = {".lance": "lancedb", ".qdrant": "qdrant", ".db": "milvus"}
"""The engine of a path: a store without a server, in a file or folder."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an index is.

    Attributes:
        engine: the module of `munjang.index.stores`, and the extra that installs its client.
        location: the store as its client takes it: a URL without the index's name, or a path.
        name: the index.
        embedded: whether the store is a file or folder, without a server.
    """

    engine: str
    location: str
    name: str
    embedded: bool = False

    @property
    def shown(self) -> str:
        """The store for messages, without a password."""
        parts = urlsplit(self.location)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", "")) if parts.netloc else self.location


def parse_address(url: str) -> Address:
    """Read an index's URL or path.

    Raises:
        ConfigurationError: no such store, or no name of an index.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme in SCHEMES:
        parts = urlsplit(url)
        path, _, name = parts.path.rstrip("/").rpartition("/")
        if not name or (SCHEMES[scheme] == "pgvector" and not path.strip("/")):
            example = "postgresql://host/database/faq" if SCHEMES[scheme] == "pgvector" else f"{scheme}://host/faq"
            msg = f"the URL names no index: end it with the index's name, as in {example}"
            raise ConfigurationError(msg, field="url")
        return Address(SCHEMES[scheme], urlunsplit(parts._replace(path=path)), check_name(name))
    path = url.rstrip("/")
    stem, suffix = posixpath.splitext(posixpath.basename(path))
    if suffix not in SUFFIXES or (separator and suffix != ".lance"):
        known = ", ".join(f"{one}://" for one in SCHEMES if one != "postgres")
        msg = f"{url!r} names no store: take {known}, or a path that ends in {', '.join(SUFFIXES)}"
        raise ConfigurationError(msg, field="url")
    location = path if separator else os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - may be a URL
    return Address(SUFFIXES[suffix], location, check_name(stem), embedded=True)


def check_target(url: str) -> Address:
    """Read the index that a job names as `to`.

    Raises:
        InvalidJob: no such store, or no name of an index; the field is `to`.
    """
    try:
        return parse_address(url)
    except ConfigurationError as error:
        msg = f"to: {error}"
        raise InvalidJob(msg, field="to") from error


def open_sink(address: Address) -> Sink:
    """Connect to the store of an index.

    Raises:
        ConfigurationError: its client library is not installed.
        StoreUnavailable: it does not answer.
    """
    try:
        module = importlib.import_module(f"munjang.index.stores.{address.engine}")
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed: pip install 'munjang[{address.engine}]'"
        raise ConfigurationError(msg, field="url") from error
    sink: Sink = module.open_store(address)
    return sink
