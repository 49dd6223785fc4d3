"""From the bytes of a request to checked values: messages, options, texts. Does no work for the request.

protobuf only reports that a message cannot be parsed. To tell which text is not UTF-8, a message that fails is parsed
again as a lenient copy of its type, in which every `string` is `bytes`. Valid messages pay nothing for this.

Errors of single texts are a mapping by index, so a caller who asked for partial results gets the other vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from munjang.encoder.postprocess import OutputOptions
from munjang.encoder.prompting import prompting
from munjang.errors import (
    EmptyText,
    InvalidOption,
    InvalidRequest,
    InvalidText,
    MalformedMessage,
    MessageTooLarge,
    MunjangError,
    NoTexts,
    TextTooLong,
    TooManyTexts,
    UnsupportedPrecision,
)
from munjang.kinds import Role
from munjang.v1 import embedding_service_pb2 as embedding_pb2
from munjang.v1 import resources_pb2
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.descriptor import Descriptor, FileDescriptor

    from munjang.encoder.contract import ModelInfo, Prompting, Tokens
    from munjang.v1.resources_pb2 import EncodeOptions

M = TypeVar("M", bound=Message)

SMALL_BYTES = 32_768
"""Messages up to this size parse in well under a millisecond, whatever is in them."""

SPARE_FIELDS = 64
"""Fields that a request has beside its texts, generously."""

NO_ERRORS: Mapping[int, MunjangError] = MappingProxyType({})

PRECISION_NUMBERS: Final[dict[Precision, resources_pb2.Precision.ValueType]] = {
    Precision.FLOAT32: resources_pb2.PRECISION_FLOAT32,
    Precision.FLOAT16: resources_pb2.PRECISION_FLOAT16,
    Precision.BFLOAT16: resources_pb2.PRECISION_BFLOAT16,
    Precision.INT8: resources_pb2.PRECISION_INT8,
    Precision.UBINARY: resources_pb2.PRECISION_UBINARY,
}
PRECISIONS: Final[dict[int, Precision]] = {
    resources_pb2.PRECISION_UNSPECIFIED: Precision.FLOAT32,
    **{number: precision for precision, number in PRECISION_NUMBERS.items()},
}
TRUNCATES: Final[dict[int, bool]] = {
    resources_pb2.TRUNCATION_UNSPECIFIED: True,
    resources_pb2.TRUNCATION_END: True,
    resources_pb2.TRUNCATION_NONE: False,
}
ROLES: Final[dict[int, Role | None]] = {
    resources_pb2.ROLE_UNSPECIFIED: None,
    resources_pb2.ROLE_QUERY: Role.QUERY,
    resources_pb2.ROLE_DOCUMENT: Role.DOCUMENT,
}
MODES: Final[dict[int, int]] = {
    embedding_pb2.SIMILARITY_MODE_UNSPECIFIED: embedding_pb2.SIMILARITY_MODE_MATRIX,
    embedding_pb2.SIMILARITY_MODE_MATRIX: embedding_pb2.SIMILARITY_MODE_MATRIX,
    embedding_pb2.SIMILARITY_MODE_PAIRWISE: embedding_pb2.SIMILARITY_MODE_PAIRWISE,
    embedding_pb2.SIMILARITY_MODE_TOP_K: embedding_pb2.SIMILARITY_MODE_TOP_K,
}
SIMILARITY_FUNCTIONS: Final = {
    "cosine": resources_pb2.SIMILARITY_FUNCTION_COSINE,
    "dot": resources_pb2.SIMILARITY_FUNCTION_DOT,
    "euclidean": resources_pb2.SIMILARITY_FUNCTION_EUCLIDEAN,
    "manhattan": resources_pb2.SIMILARITY_FUNCTION_MANHATTAN,
}


class Parser(Generic[M]):
    """Reads messages of one type.

    Args:
        kind: the message class.
        max_bytes: longer messages are refused unread.
        root: the field that is the request proper, where the message is an envelope; left out of the paths of errors.
        max_texts: longer lists of strings are not searched for the one that is not UTF-8.
    """

    def __init__(self, kind: type[M], max_bytes: int, root: str = "", max_texts: int = 1024) -> None:
        self._kind = kind
        self._max_bytes = max_bytes
        self._max_texts = max_texts
        self._prefix = f"{root}." if root else ""
        self._descriptor: Any = kind.DESCRIPTOR
        self._lenient = lenient_twin(self._descriptor)

    def parse(self, raw: bytes) -> M:
        """The message.

        Raises:
            MessageTooLarge: longer than `max_bytes`.
            InvalidText: a string is not UTF-8; field and index say which.
            TooManyTexts: so is one in a list of more than `max_texts`.
            MalformedMessage: the bytes are no message of this type.
        """
        message, errors = self.parse_partial(raw)
        for error in errors.values():
            raise error
        return message

    def parse_partial(self, raw: bytes) -> tuple[M, Mapping[int, MunjangError]]:
        """The message, with its unreadable `texts` left empty, and why they are, by index.

        Raises:
            MessageTooLarge: longer than `max_bytes`.
            InvalidText: a string other than one of `texts` is not UTF-8.
            TooManyTexts: a long message has many more fields than `max_texts`, or a string is not UTF-8 and its list
                has more than `max_texts`.
            MalformedMessage: the bytes are no message of this type.
        """
        if len(raw) > self._max_bytes:
            msg = f"the message has {len(raw)} bytes; this server takes up to {self._max_bytes}"
            raise MessageTooLarge(msg)
        most = self._max_texts + SPARE_FIELDS
        if len(raw) > SMALL_BYTES and fields_exceed(raw, self._descriptor, most):
            msg = (
                f"the message has more than {most} fields; this server takes up to {self._max_texts} texts in one call"
            )
            raise TooManyTexts(msg, field="texts")
        try:
            return self._kind.FromString(raw), NO_ERRORS
        except DecodeError:
            return self._parse_leniently(raw)

    def parse_lenient(self, raw: bytes) -> Message | None:
        """The message with bytes in place of strings, or None if it is malformed."""
        try:
            return self._lenient.FromString(raw)
        except DecodeError:
            return None

    def _parse_leniently(self, raw: bytes) -> tuple[M, Mapping[int, MunjangError]]:
        lenient = self.parse_lenient(raw)
        if lenient is None:
            msg = f"the bytes are not a valid {self._descriptor.full_name}"
            raise MalformedMessage(msg)
        errors: dict[int, MunjangError] = {}
        for holder, field, index in _unreadable(lenient, self._descriptor, self._max_texts):
            path = field.removeprefix(self._prefix)
            if index is None or path != "texts":
                raise _not_utf8(path, index)
            errors[index] = _not_utf8(path, index)
            holder.texts[index] = b""  # type: ignore[attr-defined]  # the path says that it has texts
        return self._kind.FromString(lenient.SerializeToString()), errors


def fields_exceed(raw: bytes, kind: Descriptor, most: int) -> bool:
    """Whether a message has more than `most` fields, those of the messages in it included.

    protobuf holds Python's lock while it parses, and millions of empty texts fit into an allowed message. This looks at
    `most` fields at most, and not at all into texts. What is not a message of the type is left to the parser.
    """
    count, parts = 0, [(0, len(raw), kind)]
    try:
        while parts:
            position, end, kind = parts.pop()
            while position < end:
                count += 1
                if count > most:
                    return True
                tag, position = _varint(raw, position)
                wire_type = tag & 7
                if wire_type == _LENGTH_DELIMITED:
                    size, position = _varint(raw, position)
                    field = kind.fields_by_number.get(tag >> 3)
                    if field is not None and field.message_type is not None:
                        parts.append((position, min(end, position + size), field.message_type))
                    position += size
                elif wire_type == _VARINT:
                    _, position = _varint(raw, position)
                else:
                    position += _FIXED_BYTES.get(wire_type, 0)
    except IndexError:
        return False
    return False


_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
"""Wire types of protobuf."""

_MORE = 0x80
"""The bit of a byte of a varint that says that another follows."""


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    """A varint and the position after it; IndexError at the end of the bytes."""
    value = raw[position]
    position += 1
    if value < _MORE:
        return value, position
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            break
    return value, position


@cache
def lenient_twin(kind: Descriptor) -> type[Message]:
    """The message class that reads the same bytes with `bytes` in place of each `string`."""
    pool = descriptor_pool.DescriptorPool()
    _add_lenient(pool, kind.file, set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.full_name))


def _add_lenient(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for dependency in file.dependencies:
        _add_lenient(pool, dependency, known)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _make_lenient(message)
    pool.Add(proto)


def _make_lenient(message: descriptor_pb2.DescriptorProto) -> None:
    if message.options.map_entry:  # bytes cannot be the key of a map; no request has one
        return
    for field in message.field:
        if field.type == field.TYPE_STRING:
            field.type = field.TYPE_BYTES
    for nested in message.nested_type:
        _make_lenient(nested)


def _unreadable(
    lenient: Message, kind: Any, max_texts: int, path: str = ""
) -> Iterator[tuple[Message, str, int | None]]:
    """Where `lenient` holds bytes that should be UTF-8: the message, the path in it, and the index in a list."""
    for field, value in lenient.ListFields():
        strict = kind.fields_by_number[field.number]
        if strict.type == strict.TYPE_MESSAGE and not strict.is_repeated:
            yield from _unreadable(value, strict.message_type, max_texts, f"{path}{field.name}.")
        elif strict.type == strict.TYPE_STRING:
            if strict.is_repeated:
                check_count(len(value), max_texts, field.name)
            for index, data in enumerate(value if strict.is_repeated else [value]):
                if not _is_utf8(data):
                    yield lenient, path + field.name, index if strict.is_repeated else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _not_utf8(field: str, index: int | None) -> InvalidText:
    return InvalidText("this text is not valid UTF-8: convert it from its own encoding", field=field, index=index)


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """How a request puts one list of texts to the model.

    Attributes:
        prefix: what stands before `role`, `prompt` and `prompt_name` in the request, for errors.
        prompt_name: exactly the name of one of the model's prompts, or "".
        prompt: the text of a prompt, which may be empty; None: not given.
        role: what the texts are for.
    """

    prefix: str
    prompt_name: str = ""
    prompt: str | None = None
    role: Role | None = None

    @classmethod
    def of_options(cls, options: EncodeOptions) -> Self:
        """That of Encode.

        Raises:
            InvalidOption: a role that this server does not know.
        """
        prompt = options.prompt if options.HasField("prompt") else None
        return cls("options.", options.prompt_name, prompt, role_of(options.role, "options.role"))

    def check_size(self, texts: int, max_chars: int, max_bytes: int) -> None:
        """Refuse a prompt that is too long by itself, or before so many texts: it is read with each of them.

        Raises:
            TextTooLong: it has more than `max_chars` characters.
            MessageTooLarge: written before each text, it would have more than `max_bytes` characters.
        """
        size = len(self.prompt or "")
        if size > max_chars:
            msg = f"the prompt has {size} characters; this server takes up to {max_chars}"
            raise TextTooLong(msg, field=f"{self.prefix}prompt")
        if size * texts > max_bytes:
            msg = (
                f"a prompt of {size} characters before each of {texts} texts is more than the {max_bytes} bytes of a "
                "message that this server takes: send fewer texts in one call"
            )
            raise MessageTooLarge(msg, field=f"{self.prefix}prompt")

    def resolve(self, info: ModelInfo) -> Prompting:
        """What the encoder needs of it.

        Raises:
            UnknownPrompt, InvalidOption: see `prompting`; the field is a path in the request.
        """
        try:
            return prompting(info, prompt_name=self.prompt_name, prompt=self.prompt, role=self.role)
        except InvalidRequest as error:
            error.field = self.prefix + error.field
            raise


def role_of(number: int, field: str) -> Role | None:
    """What texts are for; None where a request does not say.

    Raises:
        InvalidOption: a role that this server does not know.
    """
    if number in ROLES:
        return ROLES[number]
    msg = f"unknown role {number}; take ROLE_QUERY (1) or ROLE_DOCUMENT (2)"
    raise InvalidOption(msg, field=field)


def output_options(options: EncodeOptions) -> OutputOptions:
    """The output format that a request asks for.

    Raises:
        UnsupportedPrecision: a precision that this server does not know.
    """
    precision = PRECISIONS.get(options.precision)
    if precision is None:
        msg = f"unknown precision {options.precision}; there are {', '.join(PRECISION_NUMBERS)}"
        raise UnsupportedPrecision(msg, field="options.precision")
    normalize = options.normalize if options.HasField("normalize") else True
    return OutputOptions(dimensions=options.dimensions, normalize=normalize, precision=precision)


def truncates(truncation: int, field: str) -> bool:
    """Whether long texts are truncated; False where they are refused.

    Raises:
        InvalidOption: a truncation that this server does not know.
    """
    known = TRUNCATES.get(truncation)
    if known is None:
        msg = f"unknown truncation {truncation}; take TRUNCATION_END (1) or TRUNCATION_NONE (2)"
        raise InvalidOption(msg, field=field)
    return known


def similarity_mode(number: int) -> int:
    """Which pairs are scored.

    Raises:
        InvalidOption: a mode that this server does not know.
    """
    known = MODES.get(number)
    if known is None:
        msg = f"unknown mode {number}; take SIMILARITY_MODE_MATRIX (1), _PAIRWISE (2) or _TOP_K (3)"
        raise InvalidOption(msg, field="mode")
    return known


def check_count(count: int, most: int, field: str) -> None:
    """Refuse an empty list and one that is too long.

    Raises:
        NoTexts: there are none.
        TooManyTexts: more than `most`.
    """
    if count == 0:
        msg = f"{field} is empty; it needs at least one text"
        raise NoTexts(msg, field=field)
    if count > most:
        msg = f"the call has {count} texts; this server takes up to {most} in one call"
        raise TooManyTexts(msg, field=field)


def text_errors(texts: Sequence[str], field: str, max_chars: int, prompt: str = "") -> dict[int, MunjangError]:
    """Why texts are refused, by index: EmptyText, or TextTooLong; the caller's prompt counts to each of them."""
    errors: dict[int, MunjangError] = {}
    for index, text in enumerate(texts):
        if not text or text.isspace():
            errors[index] = EmptyText("the text is empty or only white space", field=field, index=index)
        elif len(prompt) + len(text) > max_chars:
            what = "the text and its prompt have" if prompt else "the text has"
            msg = f"{what} {len(prompt) + len(text)} characters; this server takes up to {max_chars}"
            errors[index] = TextTooLong(msg, field=field, index=index)
    return errors


def token_errors(
    tokens: Sequence[Tokens | None], field: str, max_tokens: int, *, truncate: bool
) -> dict[int, MunjangError]:
    """Why tokenised texts are refused, by index: EmptyText, or TextTooLong where truncation is off."""
    errors: dict[int, MunjangError] = {}
    for index, item in enumerate(tokens):
        if item is None:
            continue
        if not len(item):
            errors[index] = EmptyText("nothing of the text is left for the model to read", field=field, index=index)
        elif item.truncated and not truncate:
            msg = f"the text has more than the {max_tokens} tokens that the model reads, and truncation is NONE"
            errors[index] = TextTooLong(msg, field=field, index=index)
    return errors


def raise_first(errors: Mapping[int, MunjangError]) -> None:
    """Raise the error of the lowest index, if there is any."""
    if errors:
        raise errors[min(errors)]
