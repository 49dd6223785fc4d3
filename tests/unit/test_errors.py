"""The tree of errors and the reasons that travel are one list."""

from __future__ import annotations

import re

import pytest

import munjang.errors
from munjang.errors import ModelError, MunjangError, RegistryError, TooManyTexts
from munjang.v1.error_reason_pb2 import ErrorReason

PREFIX = "ERROR_REASON_"


def tree(root: type[MunjangError]) -> list[type[MunjangError]]:
    """The classes of munjang.errors below a root, the root included."""
    below = [kind for child in root.__subclasses__() for kind in tree(child)]
    return [kind for kind in [root, *below] if kind.__module__ == munjang.errors.__name__]


REASONS = {name.removeprefix(PREFIX) for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - not a dict


@pytest.mark.parametrize("kind", tree(MunjangError))
def test_every_error_has_a_reason_that_can_travel(kind: type[MunjangError]) -> None:
    assert kind.reason in REASONS


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_belongs_to_an_error(reason: str) -> None:
    assert any(kind.reason == reason for kind in tree(MunjangError))


@pytest.mark.parametrize("kind", tree(RegistryError) + tree(ModelError))
def test_what_is_wrong_with_the_registry_or_a_model_is_internal_to_a_caller(kind: type[MunjangError]) -> None:
    assert kind.reason == "INTERNAL"


@pytest.mark.parametrize("kind", tree(MunjangError))
def test_the_drawing_on_top_of_the_module_names_every_error(kind: type[MunjangError]) -> None:
    assert re.search(rf"\b{kind.__name__}\b", munjang.errors.__doc__ or "")


def test_the_path_of_an_error_is_written_as_bad_request_writes_it() -> None:
    assert MunjangError("텍스트가 비었습니다", field="texts", index=3).path == "texts[3]"
    assert MunjangError("첫 번째", field="texts", index=0).path == "texts[0]"
    assert MunjangError("옵션", field="options.dimensions").path == "options.dimensions"
    assert MunjangError("서버").path == ""


def test_an_error_keeps_what_it_was_given() -> None:
    error = TooManyTexts("1,025개는 너무 많습니다", field="texts", retry_after=1.5)
    assert str(error) == "1,025개는 너무 많습니다"
    assert error.field == "texts"
    assert error.index is None
    assert error.retry_after == 1.5
