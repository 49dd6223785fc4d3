"""`munjang rerank`: documents in the order of how well they answer a query, as a table or JSON."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from munjang.cli import console, options
from munjang.cli.lazy import completes
from munjang.cli.texts import Texts, read_texts
from munjang.client import Ranking


@options.calls_server
def rerank(
    query: Annotated[str, typer.Argument(help="What the documents should answer.")],
    documents: Annotated[list[str] | None, typer.Argument(help="The documents to order.", show_default=False)] = None,
    *,
    file: Annotated[
        str, typer.Option("--in", "-f", help="Read one document per line; - is standard input.", metavar="FILE")
    ] = "",
    encoding: Annotated[str, typer.Option(help="The encoding of --in, such as cp949.")] = "utf-8",
    top: Annotated[int, typer.Option("--top", "-n", help="Keep the best N only; 0 for all.", min=0)] = 0,
    raw: Annotated[bool, typer.Option("--raw", help="The model's output without its activation.")] = False,
    version: Annotated[
        str,
        typer.Option(
            "--version",
            "-v",
            help="A version number or an alias. Default: rerank.",
            show_default=False,
            autocompletion=completes("versions"),
        ),
    ] = "",
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Order documents by how well they answer a query, by a cross-encoder.

    Examples:
      munjang rerank "환불은 얼마나 걸리나요?" "환불은 3~5일 안에 됩니다." "비가 온다."

      munjang rerank "환불은 얼마나 걸리나요?" --in answers.txt --top 5 --json
    """
    given = read_texts(documents, file, encoding, option="--in")
    with server.connect() as client, given.named_errors():
        found = client.rerank(query, given.items, top_n=top, version=version, raw_scores=raw)
    if as_json:
        console.print_json(
            {
                "version": found.version,
                "results": [
                    {"index": each.index, "score": each.score, "document": given.items[each.index]}
                    for each in found.results
                ],
                "token_counts": found.token_counts.tolist(),
                "truncated": list(found.truncated),
            }
        )
    else:
        console.stdout().print(_table(query, given, found))


def _table(query: str, given: Texts, found: Ranking) -> Table:
    title = f"{escape(console.shorten(query, 60))} · version {found.version}"
    table = Table("", "score", "document", "tokens", title=title, title_justify="left")
    table.columns[1].justify = table.columns[3].justify = "right"
    for place, each in enumerate(found.results, 1):
        cut = " (cut)" if each.index in found.truncated else ""
        document = escape(console.shorten(given.items[each.index], 60))
        table.add_row(str(place), f"{each.score:.4f}", document, f"{found.token_counts[each.index]}{cut}")
    return table
