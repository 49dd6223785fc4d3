"""Writes docs/api.md from the comments of the protos (`make docs`); `--check` only says whether it is current."""

from __future__ import annotations

import html
import re
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

from tools.generated_page import write_or_check
from tools.protos import PACKAGE, ROOT, compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        EnumDescriptorProto,
        FileDescriptorProto,
        ServiceDescriptorProto,
    )

PAGE = ROOT / "docs" / "api.md"

HEAD = """# API reference

<!-- Written by `make docs` from protos/munjang/v1. Edit the protos, not this page. -->

The public contract is gRPC, package `munjang.v1`. A server also answers `grpc.health.v1.Health` and, unless
`MUNJANG_REFLECTION` is off, gRPC reflection. [Errors](errors.md) has every error with its code and field.
"""

OWN = ".munjang.v1."
LABEL = FieldDescriptorProto
MESSAGES, ENUMS, SERVICES = 4, 5, 6  # field numbers of FileDescriptorProto: the first step of a comment's path
FIELDS, ONEOFS = 2, 8  # of DescriptorProto
INNER = 2  # of ServiceDescriptorProto (methods) and of EnumDescriptorProto (values)
LINE = 120


class Comments:
    """The comments of one file, by the path of the element."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._by_path = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def text(self, *path: int) -> str:
        """The comment of an element, as one paragraph."""
        return " ".join(html.escape(self._by_path.get(path, ""), quote=False).split())

    def cell(self, *path: int) -> str:
        """The same, fit for a cell of a table."""
        return self.text(*path).replace("|", "\\|")


def page(image: bytes) -> str:
    """The page.

    Args:
        image: the compiled protos, a FileDescriptorSet with source info.
    """
    every = FileDescriptorSet.FromString(image).file
    files = [file for file in every if file.name.startswith(f"{PACKAGE}/")]
    ordered = sorted(files, key=lambda file: (not file.service, file.name))
    return "\n".join([HEAD, *(block for file in ordered for block in _file(file))])


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = Comments(file)
    for index, service in enumerate(file.service):
        yield _service(service, comments, index)
    if not file.service:
        yield f"## {Path(file.name).name}\n"
    for index, enum in enumerate(file.enum_type):
        yield _enum(enum, comments, index)
    for index in _in_order_of_use(file):
        yield _message(file.message_type[index], comments, index)


def _in_order_of_use(file: FileDescriptorProto) -> Iterable[int]:
    """The indices of the messages: those of a service's methods first, each followed by those that it is made of."""
    by_name = {f"{OWN}{message.name}": index for index, message in enumerate(file.message_type)}
    asked = [
        name
        for service in file.service
        for method in service.method
        for name in (method.input_type, method.output_type)
    ]
    waiting = deque([*asked, *by_name])
    seen: dict[int, None] = {}
    while waiting:
        index = by_name.get(waiting.popleft())
        if index is not None and index not in seen:
            seen[index] = None
            waiting.extendleft(reversed([field.type_name for field in file.message_type[index].field]))
    return seen


def _service(service: ServiceDescriptorProto, comments: Comments, index: int) -> str:
    lines = [f"## {service.name}\n", wrapped(comments.text(SERVICES, index))]
    for number, method in enumerate(service.method):
        asked = ("stream of " if method.client_streaming else "") + _link(method.input_type)
        answered = ("stream of " if method.server_streaming else "") + _link(method.output_type)
        lines += [f"\n### {service.name}.{method.name}\n", f"{asked} → {answered}\n"]
        lines.append(wrapped(comments.text(SERVICES, index, INNER, number)))
    return "\n".join(lines) + "\n"


def _message(message: DescriptorProto, comments: Comments, index: int) -> str:
    lines = [f"### {message.name}\n", wrapped(comments.text(MESSAGES, index))]
    entries = {f"{OWN}{message.name}.{nested.name}": nested for nested in message.nested_type}
    if message.field:
        lines += ["\n| field | type | number | meaning |", "| --- | --- | --- | --- |"]
    for number, field in enumerate(message.field):
        about = comments.cell(MESSAGES, index, FIELDS, number)
        if field.HasField("oneof_index") and not field.proto3_optional:
            about += f" One of `{message.oneof_decl[field.oneof_index].name}`."
        lines.append(f"| `{field.name}` | {_type(field, entries)} | {field.number} | {about} |")
    return "\n".join(lines) + "\n"


def _enum(enum: EnumDescriptorProto, comments: Comments, index: int) -> str:
    lines = [f"### {enum.name}\n", wrapped(comments.text(ENUMS, index))]
    lines += ["\n| value | number | meaning |", "| --- | --- | --- |"]
    for number, value in enumerate(enum.value):
        about = re.sub(rf"^{value.name}:? ", "", comments.cell(ENUMS, index, INNER, number))
        lines.append(f"| `{value.name}` | {value.number} | {about} |")
    return "\n".join(lines) + "\n"


def _type(field: FieldDescriptorProto, entries: dict[str, DescriptorProto]) -> str:
    if field.type_name in entries:
        key, value = entries[field.type_name].field
        return f"map of {_type(key, {})} to {_type(value, {})}"
    name = _link(field.type_name) if field.type_name else LABEL.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == LABEL.LABEL_REPEATED:
        return f"list of {name}"
    return f"{name}, optional" if field.proto3_optional else name


def _link(name: str) -> str:
    if not name.startswith(OWN):
        return f"`{name.removeprefix('.')}`"
    short = name.removeprefix(OWN)
    return f"[{short}](#{short.lower()})"


def wrapped(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def main() -> int:
    """Write the page, or with `--check` return 1 where it is not current."""
    return write_or_check(
        PAGE, page(compiled(ROOT / "protos", "--include_source_info")), "docs/api.md is not what protos/munjang/v1 says"
    )


if __name__ == "__main__":
    sys.exit(main())
