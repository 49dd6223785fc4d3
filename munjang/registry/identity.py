"""Who a registry is: a random id in its root, made once, so that two registries are not taken for each other.

The first publisher makes it. A registry that is older than the id gets one from the first program that may write there.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from munjang.errors import InvalidManifest, RegistryUnavailable

if TYPE_CHECKING:
    from munjang.registry.storage import Storage

IDENTITY = "registry.json"

_log = logging.getLogger(__name__)


class _Identity(BaseModel):
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


def read_identity(storage: Storage) -> str:
    """The registry's id; "" while it has none.

    Raises:
        InvalidManifest: the file that holds it is not valid.
        RegistryUnavailable: the storage cannot be read.
    """
    try:
        return _Identity.model_validate_json(storage.read(IDENTITY)).id
    except FileNotFoundError:
        return ""
    except ValidationError as error:
        msg = f"{IDENTITY} of {storage.url} is not valid: it holds the registry's id, 32 hexadecimal digits"
        raise InvalidManifest(msg) from error


def ensure_identity(storage: Storage) -> str:
    """The registry's id; made if it has none. Of several programs that make it at once, one does.

    Raises:
        InvalidManifest: the file that holds it is not valid.
        RegistryUnavailable: the storage cannot be read or written.
    """
    found = read_identity(storage)
    if not found:
        storage.create(IDENTITY, _Identity(id=secrets.token_hex(16)).model_dump_json().encode() + b"\n")
        found = read_identity(storage)
    return found


def identity_of_reader(storage: Storage) -> str:
    """The registry's id for one who may not be allowed to write it; "" where there is none and none can be made."""
    with suppress(RegistryUnavailable):
        return ensure_identity(storage)
    return read_identity(storage)
