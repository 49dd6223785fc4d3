"""`munjang index …`: vectors into a search index of a vector store, up to date, on another version, and checked.

The libraries that read files and talk to stores load in the commands that need them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from munjang.cli import console, options
from munjang.cli.programs import shell_command
from munjang.errors import ConfigurationError, MunjangError
from munjang.registry import DEFAULT, Registry

if TYPE_CHECKING:
    from munjang.index.comparison import Comparison
    from munjang.index.tables import Tables

app = typer.Typer(
    no_args_is_help=True, help="Load vectors into a search index, update it, move it to another version, check it."
)

STORES = "postgresql://, qdrant://, milvus:// with the index's name at the end, or a path NAME.lance, .qdrant or .db"

Url = Annotated[str, typer.Argument(help=f"The index: {STORES}.", metavar="INDEX")]
Alias = Annotated[str, typer.Option(help="The alias by which searches are encoded.")]


@app.command()
def load(
    job_folder: Annotated[str, typer.Argument(help="The folder of a finished job: a path or URL.")],
    url: Url,
    *,
    similarity: Annotated[
        str, typer.Option(help="The model's similarity function, for folders of older jobs.", show_default=False)
    ] = "",
    text_column: Annotated[
        str, typer.Option(help="The carried column with the texts. Default: the job's.", show_default=False)
    ] = "",
    switch: Annotated[
        bool, typer.Option(help="Let the index's name mean the table in the end; else it stands ready beside.")
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Load a job's Parquet files into a table of the index. Killed at any moment, the same command goes on.

    Carry the text column (munjang jobs submit --carry text): updates, rollovers and checks need the texts.

    Examples:
      munjang index load vectors faq.lance

      munjang index load s3://bucket/vectors postgresql://search@db/shop/faq
    """
    from munjang.index.load import load_job  # noqa: PLC0415 - see above

    with _installed(), _tables(url) as tables:
        from munjang.index.job_folder import JobFolder  # noqa: PLC0415 - see above

        folder = JobFolder(job_folder, similarity=similarity, text_column=text_column)
        with console.progress("loading", folder.rows) as advance:
            before = 0

            def progress(done: int, _: int) -> None:
                nonlocal before
                advance(done - before)
                before = done

            report = load_job(folder, tables, switch=switch, progress=progress)
    _print(asdict(report), as_json=as_json)


@app.command()
@options.calls_server
def update(
    url: Url,
    corpus: Annotated[str, typer.Argument(help="A file, glob or folder: .jsonl, .csv, .tsv or .parquet.")],
    *,
    text_column: Annotated[str, typer.Option(help="The column of the texts.")] = "text",
    id_column: Annotated[str, typer.Option(help="The column of the ids.")] = "id",
    encoding: Annotated[str, typer.Option(help="Of text files, such as cp949.")] = "utf-8",
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Leave rows that the corpus does not have.")
    ] = False,
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Bring an index up to date with a corpus: embeds new and changed texts, deletes ids that are gone.

    A row whose text is the same keeps its vector. The server embeds in the index's own space, whatever it serves.

    Example:
      munjang index update faq.lance corpus.jsonl
    """
    with _installed(), _tables(url) as tables, server.connect() as client:
        from munjang.index.corpus import Corpus  # noqa: PLC0415 - see above
        from munjang.index.update import update_index  # noqa: PLC0415 - see above

        found = Corpus(corpus, text_column, id_column, encoding)
        reports = update_index(tables, client, found, keep_missing=keep_missing)
    for report in reports:
        _print(asdict(report), as_json=as_json)


@app.command()
@options.calls_server
def search(
    url: Url,
    query: Annotated[str, typer.Argument(help="What to search for.")],
    *,
    k: Annotated[int, typer.Option("-k", help="How many rows.", min=1)] = 10,
    version: options.Version = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Search an index: the query is encoded by the server, and searched among vectors of its own space.

    Example:
      munjang index search faq.lance "환불은 어떻게 하나요?" -k 3
    """
    from munjang.search import Index  # noqa: PLC0415 - see above

    with server.connect() as client, Index(url, client, version=version) as index:
        hits = index.search(query, k)
    if as_json:
        console.print_json([asdict(hit) for hit in hits])
        return
    table = Table("score", "id", "version", *(hits[0].columns if hits else ()), box=None)
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", str(hit.id), str(hit.version), *map(str, hit.columns.values()))
    console.stdout().print(table)


@app.command()
def status(url: Url, *, as_json: options.Json = False) -> None:
    """Show the tables of an index: which is searched by its name, which stand beside it, and what they hold.

    Example:
      munjang index status faq.lance
    """
    from munjang.index.rollover import describe  # noqa: PLC0415 - see above
    from munjang.index.tables import MANIFEST  # noqa: PLC0415 - see above

    with _tables(url) as tables:
        tables.current()
        state = tables.state()
        held: list[dict[str, Any]] = [
            {"table": table, "rows": tables.sink.count(table)}
            | {"layout": tables.layout(table).as_dict()}
            | {"last_update": tables.sink.records(table).get(MANIFEST)}
            for table in state.tables
        ]
        found = {**describe(state), "tables": held}
    if as_json:
        console.print_json(found)
        return
    page = Table("table", "rows", "is", "space", box=None)
    for one in held:
        role = next(name for name in ("current", "next", "previous") if found[name] == one["table"])
        page.add_row(one["table"], f"{one['rows']:,}", role, one["layout"]["space_id"])
    console.stdout().print(page)


@app.command()
@options.calls_server
def rollover(
    url: Url,
    *,
    to: Annotated[str, typer.Option(help="The version to move to: a number, alias or space id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Move, whatever the comparison says.")] = False,
    yes_if: Annotated[
        str,
        typer.Option(help="Move if all of it holds, such as recall>=0.9,overlap>=0.5; else fail.", show_default=False),
    ] = "",
    queries: Annotated[
        Path | None,
        typer.Option(help='JSON Lines of {"query": …, "answers": [id, …]}. Default: a sample of the texts.'),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the comparison as Markdown to this file.")] = None,
    alias: Alias = DEFAULT,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Move an index to another version: embed all texts into a second table, compare, and switch.

    Searches and updates go on. Without --yes or --yes-if it stops after the comparison; run it again to decide. Killed
    at any moment, the same command goes on.

    Examples:
      munjang index rollover faq.lance --to 2 --page comparison.md

      munjang index rollover faq.lance --to 2 --queries questions.jsonl --yes-if "recall>=0.9,recall_change>=-0.01"
    """
    from munjang.index import comparison as comparing  # noqa: PLC0415 - see above
    from munjang.index.rollover import Rollover  # noqa: PLC0415 - see above

    asked = comparing.read_queries(queries) if queries else None
    with _tables(url) as tables, server.connect() as client:
        moving = Rollover(tables, client, _registry(registry), alias=alias, say=console.note)
        table = moving.prepare(to)
        found = comparing.compare(tables, client, table, asked or comparing.sample_queries(tables))
        if page:
            page.write_text(comparing.page(found, tables.name), encoding="utf-8")
        _print(_comparison(found), as_json=as_json)
        if yes_if and not comparing.holds(yes_if, found):
            msg = f"not moved: {yes_if} does not hold; the new table stays beside the old one"
            raise MunjangError(msg)
        if yes or yes_if:
            moving.switch(to)
        else:
            again = f"{shell_command('munjang')} index rollover … --yes"
            console.note(f"`{again}` moves the index; `munjang index rollback` gives the new table up")


@app.command()
def rollback(
    url: Url, *, alias: Alias = DEFAULT, registry: options.RegistryUrl = "", as_json: options.Json = False
) -> None:
    """Return to the table and version from before a rollover; before its end, give the new table up.

    Example:
      munjang index rollback faq.lance
    """
    from munjang.index.rollover import Rollover  # noqa: PLC0415 - see above

    with _tables(url) as tables:
        current = Rollover(tables, _Nobody(), _registry(registry), alias=alias, say=console.note).rollback()
    _print({"current": current}, as_json=as_json)


@app.command()
def retire(url: Url, *, registry: options.RegistryUrl = "", as_json: options.Json = False) -> None:
    """Drop the tables that an index has beside its current one, once no rollback will be wanted.

    Example:
      munjang index retire faq.lance
    """
    from munjang.index.rollover import Rollover  # noqa: PLC0415 - see above

    with _tables(url) as tables:
        dropped = Rollover(tables, _Nobody(), _registry(registry), say=console.note).retire()
    _print({"dropped": dropped}, as_json=as_json)


@app.command()
@options.calls_server
def check(
    url: Url,
    *,
    rows: Annotated[int, typer.Option(help="How many rows to check, drawn at random; 0 for all.", min=0)] = 1000,
    repair: Annotated[bool, typer.Option("--repair", help="Embed the wrong ones of them again.")] = False,
    registry: options.RegistryUrl = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Embed rows again, and tell which vectors are not what the index says: version, prompt, length, stale or damaged.

    The exit status is 1 if some are wrong and were not repaired.

    Examples:
      munjang index check faq.lance

      munjang index check faq.lance --rows 0 --repair
    """
    from munjang.index.check import check_index  # noqa: PLC0415 - see above

    with _tables(url) as tables, server.connect() as client:
        report = check_index(tables, client, _registry(registry), sample=rows, repair=repair)
    _print(asdict(report) | {"not_tried": sorted(report.not_tried)}, as_json=as_json)
    wrong = report.checked - report.right - report.repaired
    if wrong:
        msg = f"{wrong} of {report.checked} rows are wrong"
        raise MunjangError(msg)


class _Nobody:
    """Encodes nothing, for commands that embed nothing."""

    def encode(self, *_: object, **__: object) -> Any:
        msg = "this command embeds nothing"
        raise AssertionError(msg)


@contextmanager
def _tables(url: str) -> "Iterator[Tables]":
    """The tables of an index, as long as the block lasts."""
    from munjang.index.address import open_sink, parse_address  # noqa: PLC0415 - see above
    from munjang.index.tables import Tables  # noqa: PLC0415 - see above

    address = parse_address(url)
    sink = open_sink(address)
    try:
        yield Tables(sink, address.name)
    finally:
        sink.close()


@contextmanager
def _installed() -> Iterator[None]:
    """Say which extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed: pip install 'munjang[index]'"
        raise ConfigurationError(msg) from error


def _registry(url: str) -> Registry:
    return Registry(url or options.found_settings().registry_url)


def _comparison(found: "Comparison") -> dict[str, Any]:
    plain = asdict(found)
    sides = {f"{which}_{name}": value for which in ("old", "new") for name, value in plain.pop(which).items()}
    return plain | sides


def _print(values: dict[str, Any], *, as_json: bool) -> None:
    """A result: JSON, or a line per value."""
    if as_json:
        console.print_json(values)
        return
    page = Table(show_header=False, box=None)
    for name, value in values.items():
        if value not in ({}, [], None):
            shown = f"{value:.3f}" if isinstance(value, float) else str(value)
            page.add_row(f"[dim]{name.replace('_', ' ')}[/]", shown)
    console.stdout().print(page)
