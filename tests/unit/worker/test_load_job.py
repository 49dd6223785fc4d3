"""Which store a job may load into, what of it everyone sees, and what is refused before anything is embedded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from munjang.bulk.job import JobSpec
from munjang.errors import ConfigurationError, InvalidJob
from munjang.settings import WorkerSettings
from munjang_worker.load_job import check_loading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang.index.address import Address
    from munjang_worker.plan import Plan

STORES = "qdrant://other:6333, postgresql://loader:geheim@db:5432/shop?sslmode=require"


class Opened(Exception):
    """A store would be opened."""


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch, plan_of: Callable[..., Plan], jsonl: Any) -> Callable[..., Any]:
    """The address that a worker of some settings opens for a job."""

    def opening(to: str, **settings: str) -> Address:
        def open_sink(address: Address) -> None:
            raise Opened(address)

        monkeypatch.setattr("munjang_worker.load_job.open_sink", open_sink)
        with pytest.raises(Opened) as found:
            check_loading(plan_of(jsonl([{"text": "가"}]), to=to), WorkerSettings(**settings))
        return found.value.args[0]

    return opening


def test_the_password_and_the_options_are_those_of_the_workers_settings(opening: Callable[..., Any]) -> None:
    known = "postgresql://loader:geheim@db:5432/shop?sslmode=require"
    for to in ("postgresql://db:5432/shop/faq", "postgresql://loader@db:5432/shop/faq"):
        address = opening(to, stores=STORES)
        assert (address.location, address.name) == (known, "faq")
    assert opening("postgresql://db/shop/faq").location == "postgresql://db/shop"


@pytest.mark.parametrize(
    "to",
    [
        "postgresql://db:5432/shop/faq?host=evil",
        "postgresql://evil:5432/shop/faq",
        "postgresql://root@db:5432/shop/faq",
        "postgresql://db:5432/other/faq",
        "qdrant+https://other:6333/faq",
    ],
)
def test_a_store_that_the_settings_do_not_name_is_refused(plan_of: Callable[..., Plan], jsonl: Any, to: str) -> None:
    with pytest.raises(InvalidJob, match="none of the stores that this worker may load") as refused:
        check_loading(plan_of(jsonl([{"text": "가"}]), to=to), WorkerSettings(stores=STORES))
    assert refused.value.field == "to"


def test_a_store_in_a_folder_must_be_where_jobs_may_write(
    plan_of: Callable[..., Plan], jsonl: Any, tmp_path: Path
) -> None:
    plan = plan_of(jsonl([{"text": "가"}]), to=str(tmp_path / "faq.lance"))
    with pytest.raises(InvalidJob, match="outside of the places"):
        check_loading(plan, WorkerSettings(output_roots=str(tmp_path / "other")))
    check_loading(plan, WorkerSettings(output_roots=str(tmp_path)))


def test_a_worker_without_the_stores_client_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, plan_of: Callable[..., Plan], jsonl: Any
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "munjang.index.stores.pgvector", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'munjang\[pgvector\]'"):
        check_loading(plan_of(jsonl([{"text": "가"}]), to="postgresql://db/shop/faq"), WorkerSettings())


def test_what_the_store_or_the_table_cannot_hold_is_refused(
    plan_of: Callable[..., Plan], jsonl: Any, tmp_path: Path
) -> None:
    rows = jsonl([{"text": "가", "content_hash": "x"}])
    plan = plan_of(rows, to=str(tmp_path / "faq.lance"), carry_columns="content_hash")
    with pytest.raises(InvalidJob, match="column that every index has"):
        check_loading(plan, WorkerSettings())
    plan = plan_of(rows, to=str(tmp_path / "faq.db"), precision="ubinary")
    with pytest.raises(InvalidJob, match="another precision") as refused:
        check_loading(plan, WorkerSettings())
    assert refused.value.field == "to"


@pytest.mark.parametrize(
    "to", ["postgresql://me:geheim@db/shop/faq", "postgresql://db/shop/faq?password=geheim", "qdrant://:geheim@h/faq"]
)
def test_a_password_is_refused_and_not_repeated(to: str) -> None:
    with pytest.raises(InvalidJob, match="MUNJANG_STORES") as refused:
        JobSpec.of_call(("/in", "/out"), {"to": to})
    assert "geheim" not in str(refused.value)
    assert refused.value.field == "to"


def test_an_index_needs_parquet_and_is_part_of_what_the_job_is() -> None:
    with pytest.raises(InvalidJob, match="parquet"):
        JobSpec.of_call(("/in", "/out"), {"to": "/faq.lance", "format": "npy"})
    plain = JobSpec.of_call(("/in", "/out"), {})
    assert plain.job_id == JobSpec.of_call(("/in", "/out"), {"to": ""}).job_id
    assert plain.job_id != JobSpec.of_call(("/in", "/out"), {"to": "/faq.lance"}).job_id
