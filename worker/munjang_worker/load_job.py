"""Loading a job's vectors into the search index that it names: which store it is, and the steps that are left.

What is loaded is recorded by the store, so that a step can be killed at any moment and done again.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from munjang.errors import ConfigurationError, InvalidJob
from munjang.index.address import check_target, open_sink, parse_address
from munjang.index.job_folder import JobFolder
from munjang.index.layout import RESERVED, Layout
from munjang.index.load import Loading
from munjang.index.tables import Tables
from munjang_worker.storage import confine, split_roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.index.address import Address
    from munjang.settings import WorkerSettings
    from munjang_worker.plan import Plan

LOADED = ".munjang/loaded"
"""The file in the output folder that says that the index has the job's vectors."""

SEVERAL_PROCESSES = frozenset({"lancedb"})
"""The engines that several processes may have open in one folder."""


def check_loading(plan: Plan, settings: WorkerSettings) -> None:
    """Refuse before anything is embedded what could not be loaded afterwards.

    Raises:
        InvalidJob: the index's name or a column cannot be, or the job must not load there.
        ConfigurationError: the store's client is not installed here, or the store cannot hold such vectors.
        StoreUnavailable: it does not answer.
        InvalidOption: the index keeps a table for a rollback.
    """
    taken = RESERVED.intersection(plan.spec.carry_columns)
    if taken:
        msg = f"carry_columns: {min(taken)!r} is the name of a column that every index has"
        raise InvalidJob(msg, field="carry_columns")
    with _tables(plan, settings) as tables:
        spec = plan.spec
        layout = Layout(
            plan.space_id,
            plan.dimensions,
            precision=spec.precision,
            similarity=plan.similarity,
            columns=(),
            int8_scale=plan.int8_scale,
        )
        problem = tables.sink.supports(layout)
        if problem:
            msg = f"to: {problem}; run the job with another precision, or take another store"
            raise InvalidJob(msg, field="to")
        tables.refuse_third(plan.space_id)


@contextmanager
def open_loading(plan: Plan, settings: WorkerSettings) -> Iterator[tuple[Loading, JobFolder]]:
    """The loading of a job whose manifest stands, and its folder.

    Raises:
        MunjangError: as `check_loading`, and as `JobFolder`.
    """
    folder = JobFolder(plan.spec.output)
    with _tables(plan, settings) as tables:
        yield Loading(folder, tables), folder


def loads_in_turn(plan: Plan) -> bool:
    """Whether one process at a time may have the store open, so that shards are loaded one after another."""
    address = parse_address(plan.spec.to or "")
    return address.embedded and address.engine not in SEVERAL_PROCESSES


@contextmanager
def _tables(plan: Plan, settings: WorkerSettings) -> Iterator[Tables]:
    address = _allowed(check_target(plan.spec.to or ""), settings)
    with closing(open_sink(address)) as sink:
        yield Tables(sink, address.name)


def _allowed(address: Address, settings: WorkerSettings) -> Address:
    """The store as this worker opens it: with the password that its settings have.

    Nothing else of a job's URL than the index's name is used where settings name the store: options in it could lead
    the password elsewhere.

    Raises:
        InvalidJob: the settings do not allow it.
    """
    if address.embedded:
        confine(address.location, split_roots(settings.output_roots), "to")
        return address
    stores = [one for part in settings.stores.split(",") if (one := part.strip())]
    for store in stores:
        try:
            known = parse_address(_with_name(store, address.name))
        except ConfigurationError as error:
            msg = "stores: name stores by their URLs, without an index's name, such as postgresql://user@host/database"
            raise ConfigurationError(msg, field="stores") from error
        if _is_same(address, known):
            return replace(known, name=address.name)
    if stores:
        msg = f"to: {address.shown!r} is none of the stores that this worker may load"
        raise InvalidJob(msg, field="to")
    return address


def _with_name(store: str, name: str) -> str:
    parts = urlsplit(store)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl()


def _is_same(asked: Address, known: Address) -> bool:
    """Whether a job's URL means a store of the settings; the user and options may be left out."""
    one, two = urlsplit(asked.location), urlsplit(known.location)
    same = (asked.engine, one.scheme, one.hostname, one.port, one.path.rstrip("/"))
    return (
        same == (known.engine, two.scheme, two.hostname, two.port, two.path.rstrip("/"))
        and one.username in {None, two.username}
        and one.query in {"", two.query}
    )
