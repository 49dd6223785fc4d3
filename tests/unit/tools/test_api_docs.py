"""The API page says all that the protos say, and its links lead somewhere."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.api_docs import PAGE, page
from tools.protos import PACKAGE, ROOT, compiled


@pytest.fixture(scope="module")
def image() -> bytes:
    return compiled(ROOT / "protos", "--include_source_info")


@pytest.fixture(scope="module")
def text(image: bytes) -> str:
    return page(image)


def test_the_committed_page_is_what_the_protos_say(text: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == text


def test_every_method_message_field_and_value_is_on_the_page(image: bytes, text: str) -> None:
    headings = set(re.findall(r"^##+ (\S+)$", text, re.MULTILINE))
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    for file in FileDescriptorSet.FromString(image).file:
        if file.name.startswith(f"{PACKAGE}/"):
            methods = {f"{service.name}.{method.name}" for service in file.service for method in service.method}
            kinds = {kind.name for kind in [*file.service, *file.message_type, *file.enum_type]}
            assert methods | kinds <= headings
            assert {field.name for message in file.message_type for field in message.field} <= rows
            assert {value.name for enum in file.enum_type for value in enum.value} <= rows


def test_every_row_says_what_it_means(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if not row.removesuffix("|").rpartition("|")[2].strip()] == []


def test_every_link_leads_to_a_heading_or_a_page(text: str) -> None:
    anchors = {heading.lower().replace(".", "") for heading in re.findall(r"^##+ (\S+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    assert all((PAGE.parent / link).exists() for link in re.findall(r"\]\(([^)#]+\.md)\)", text))
