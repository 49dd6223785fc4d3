"""A job's options: read as every way in writes them, refused by name, and the same work has the same id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from munjang.bulk.job import NOT_IDENTITY, JobSpec, absolute
from munjang.errors import InvalidJob
from munjang.vectors import Precision

IN, OUT = "/in/a.jsonl", "/out"


def spec(**options: Any) -> JobSpec:
    return JobSpec.of_call((IN, OUT), options)


def test_options_are_read_as_the_rq_command_line_writes_them() -> None:
    made = spec(precision="int8", dimensions="256", normalize="false", carry_columns="a, b", max_error_rate="0.1")
    assert made.precision is Precision.INT8
    assert made.dimensions == 256
    assert made.normalize is False
    assert made.carry_columns == ("a", "b")
    assert made.max_error_rate == pytest.approx(0.1)
    assert made == spec(precision="int8", dimensions=256, normalize=False, carry_columns=["a", "b"], max_error_rate=0.1)


def test_a_version_may_be_a_number_or_nothing() -> None:
    assert spec(version=7).version == "7"
    assert spec(version="").version == spec(version=None).version == spec().version == "stable"


@pytest.mark.parametrize(
    ("args", "options", "field"),
    [
        ((IN,), {}, "output"),
        ((IN, OUT, "more"), {}, ""),
        ((IN, OUT), {"input": IN}, "input"),
        ((IN, OUT), {"precison": "int8"}, "precison"),
        ((IN, OUT), {"precision": "int4"}, "precision"),
        ((IN, OUT), {"precision": "bfloat16"}, "precision"),
        ((IN, OUT), {"dimensions": -1}, "dimensions"),
        ((IN, OUT), {"dimensions": "many"}, "dimensions"),
        ((IN, OUT), {"truncation": "middle"}, "truncation"),
        ((IN, OUT), {"max_error_rate": 1.5}, "max_error_rate"),
        ((IN, OUT), {"format": "xlsx"}, "format"),
        ((IN, OUT), {"encoding": "base64"}, "encoding"),
        (("/data/\udcc7.jsonl", OUT), {}, "input"),
        ((IN, OUT), {"encoding": "no-such"}, "encoding"),
        ((IN, OUT), {"carry_columns": "a,a"}, "carry_columns"),
        ((IN, OUT), {"carry_columns": "vector"}, "carry_columns"),
        (("", OUT), {}, "input"),
        (([], OUT), {}, "input"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(args: tuple[Any, ...], options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        JobSpec.of_call(args, options)
    assert caught.value.field == field


@pytest.mark.parametrize(("args", "kwargs"), [("ab", {}), (5, {}), ((IN, OUT), [1]), ((IN, OUT), {5: 1})])
def test_arguments_that_are_no_arguments_are_refused(args: Any, kwargs: Any) -> None:
    with pytest.raises(InvalidJob):
        JobSpec.of_call(args, kwargs)


def test_a_url_with_a_question_mark_that_became_an_option_is_explained() -> None:
    with pytest.raises(InvalidJob, match="rq enqueue"):
        JobSpec.of_call((OUT,), {"s3://bucket/key?versionId": "3"})


def test_the_same_work_has_the_same_id_and_other_work_another() -> None:
    same = {spec().job_id, spec(version="stable", precision="float32").job_id, spec(max_error_rate=0.1).job_id}
    other = {spec(precision="int8").job_id, spec(version="7").job_id, spec(prompt_name="query").job_id}
    assert len(same) == 1
    assert len(other) == 3
    assert same.isdisjoint(other)


def test_role_and_prompt_make_other_work_and_their_absence_keeps_the_id_of_earlier_releases() -> None:
    asked = [spec(role="query"), spec(role="document"), spec(prompt=""), spec(prompt="질문: ")]
    assert len({one.job_id for one in (spec(), *asked)}) == 5
    identity = spec().model_dump(mode="json", exclude={*NOT_IDENTITY, "role", "prompt"})
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    assert spec().job_id == f"job-{digest.hexdigest()[:20]}"
    assert spec(role="").job_id == spec().job_id


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"role": "passage"}, "role"),
        ({"prompt_name": "query", "prompt": ""}, "prompt"),
        ({"prompt": "가" * 16_385}, "prompt"),
    ],
)
def test_roles_and_prompts_that_cannot_be_are_refused(options: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        JobSpec.of_call((IN, OUT), options)
    assert caught.value.field == field


def test_paths_become_absolute_and_urls_stay() -> None:
    assert absolute("a.jsonl") == str(Path.cwd() / "a.jsonl")
    assert absolute("file:///in/a.jsonl") == "/in/a.jsonl"
    assert absolute("/in/../out/") == "/out"
    assert absolute("s3://bucket/a/") == "s3://bucket/a"
