"""Bytes of a request into its message, or a clear error: too large, malformed, or which text is not UTF-8.

protobuf says only that a message does not parse. To say more, the bytes are read once again with a loose twin of the
message type, in which every `string` is `bytes`: what then parses had its fault in its strings, and those are looked at
one by one. This costs nothing where a message is right. What the values mean is checked in `validation`.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from munjang.errors import InvalidText, MalformedMessage, MessageTooLarge, MunjangError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import Descriptor, FileDescriptor

M = TypeVar("M", bound=Message)

NO_FAULTS: Mapping[int, MunjangError] = MappingProxyType({})


class Parser(Generic[M]):
    """Reads messages of one type.

    Args:
        kind: the message class.
        max_bytes: longer messages are refused unread.
        root: the field that is the request proper, where the message is an envelope; left out of the paths in errors.
    """

    def __init__(self, kind: type[M], max_bytes: int, root: str = "") -> None:
        self._kind = kind
        self._max_bytes = max_bytes
        self._prefix = f"{root}." if root else ""
        self._descriptor: Any = kind.DESCRIPTOR
        self._loose = loose_twin(self._descriptor)

    def parse(self, raw: bytes) -> M:
        """The message.

        Raises:
            MessageTooLarge: longer than `max_bytes`.
            InvalidText: a string is not UTF-8; field and index say which.
            MalformedMessage: the bytes are no message of this type.
        """
        message, faults = self.salvage(raw)
        for fault in faults.values():
            raise fault
        return message

    def salvage(self, raw: bytes) -> tuple[M, Mapping[int, MunjangError]]:
        """The message, with its unreadable `texts` left empty, and why they are, by index.

        Raises:
            MessageTooLarge: longer than `max_bytes`.
            InvalidText: a string other than one of `texts` is not UTF-8.
            MalformedMessage: the bytes are no message of this type.
        """
        if len(raw) > self._max_bytes:
            msg = f"the message has {len(raw)} bytes; this server takes up to {self._max_bytes}"
            raise MessageTooLarge(msg)
        try:
            return self._kind.FromString(raw), NO_FAULTS
        except DecodeError:
            return self._salvage(raw)

    def loose(self, raw: bytes) -> Message | None:
        """The message with bytes in place of strings, or None where it is malformed."""
        try:
            return self._loose.FromString(raw)
        except DecodeError:
            return None

    def _salvage(self, raw: bytes) -> tuple[M, Mapping[int, MunjangError]]:
        loose = self.loose(raw)
        if loose is None:
            msg = f"the bytes are not a valid {self._descriptor.full_name}"
            raise MalformedMessage(msg)
        faults: dict[int, MunjangError] = {}
        for holder, field, index in _unreadable(loose, self._descriptor):
            path = field.removeprefix(self._prefix)
            if index is None or path != "texts":
                raise _not_utf8(path, index)
            faults[index] = _not_utf8(path, index)
            holder.texts[index] = b""  # type: ignore[attr-defined]  # the path says that it has texts
        return self._kind.FromString(loose.SerializeToString()), faults


@cache
def loose_twin(kind: Descriptor) -> type[Message]:
    """The message class that reads the same bytes with `bytes` in place of each `string`."""
    pool = descriptor_pool.DescriptorPool()
    _add_loosened(pool, kind.file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.full_name))


def _add_loosened(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for dependency in file.dependencies:
        _add_loosened(pool, dependency, known)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _loosen(message)
    pool.Add(proto)


def _loosen(message: descriptor_pb2.DescriptorProto) -> None:
    if message.options.map_entry:  # bytes cannot be the key of a map; no request has one
        return
    for field in message.field:
        if field.type == field.TYPE_STRING:
            field.type = field.TYPE_BYTES
    for nested in message.nested_type:
        _loosen(nested)


def _unreadable(loose: Message, kind: Any, path: str = "") -> Iterator[tuple[Message, str, int | None]]:
    """Where `loose` holds bytes that should be UTF-8: the message, the path in it, and the index in a list."""
    for field, value in loose.ListFields():
        strict = kind.fields_by_number[field.number]
        if strict.type == strict.TYPE_MESSAGE and not strict.is_repeated:
            yield from _unreadable(value, strict.message_type, f"{path}{field.name}.")
        elif strict.type == strict.TYPE_STRING:
            for index, data in enumerate(value if strict.is_repeated else [value]):
                if not _is_utf8(data):
                    yield loose, path + field.name, index if strict.is_repeated else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _not_utf8(field: str, index: int | None) -> InvalidText:
    return InvalidText("this text is not valid UTF-8: convert it from its own encoding", field=field, index=index)
