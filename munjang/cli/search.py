"""`munjang search`: the texts of a file in the order of how near they are to a question, as a table or JSON."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from munjang.cli import console, options
from munjang.cli.texts import Texts, read_texts
from munjang.client import Client, Scores
from munjang.client.requests import chunks
from munjang.kinds import Role

ONE_CALL = 256
"""This many texts are sent as one call."""


@options.calls_server
def search(
    query: Annotated[str, typer.Argument(help="What to search for.")],
    texts: Annotated[list[str] | None, typer.Argument(help="The texts to search.", show_default=False)] = None,
    *,
    file: Annotated[
        str, typer.Option("--in", "-f", help="Read one text per line; - is standard input.", metavar="FILE")
    ] = "",
    encoding: Annotated[str, typer.Option(help="The encoding of --in, such as cp949.")] = "utf-8",
    top: Annotated[int, typer.Option("--top", "-k", help="How many texts to show, the nearest first.", min=1)] = 5,
    version: options.Version = "",
    dimensions: options.Dimensions = 0,
    as_json: options.Json = False,
    server: options.Server,
) -> None:
    """Search texts by meaning: the nearest to a question, by the model's own similarity function.

    The question and the texts are put to the model in their roles, query and document. All texts are encoded anew for
    each search; for more than a few hundred make an index once: `munjang index`.

    Examples:
      munjang search "환불은 얼마나 걸리나요?" --in faq.txt

      munjang search "비가 오나요?" "내일 서울에는 비가 내리겠습니다." "남자가 드럼을 쳤다." --json
    """
    given = read_texts(texts, file, encoding, option="--in")
    roles = {"query_role": Role.QUERY, "candidate_role": Role.DOCUMENT}
    choice = {"mode": "top_k", "top_k": top, "version": version, "dimensions": dimensions, **roles}
    with server.connect() as client:
        found = _search(client, query, given, choice)
    if as_json:
        console.print_json(found.json(query, given))
    else:
        console.stdout().print(_table(query, given, found))


@dataclass(frozen=True)
class Found:
    """The nearest texts, best first, as pairs of score and index; all scores are by one version."""

    scores: Scores
    hits: list[tuple[float, int]]
    truncated: list[int]

    def json(self, query: str, given: Texts) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "version": self.scores.version,
            "space_id": self.scores.space_id,
            "function": self.scores.function,
            "query": query,
            "results": [{"index": index, "score": score, "text": given.items[index]} for score, index in self.hits],
            "truncated": self.truncated,
        }


def _search(client: Client, query: str, given: Texts, choice: dict[str, Any]) -> Found:
    """Search in as many calls as the texts need; the first names the version and the others are pinned to it."""
    hits: list[tuple[float, int]] = []
    truncated: list[int] = []
    with console.progress("searching", len(given.items)) as advance:
        for start, texts in chunks(given.items, ONE_CALL):
            with given.named_errors("candidates", start=start):
                found = client.similarity([query], texts, **choice)
            assert found.indices is not None  # noqa: S101 - top_k always has them
            hits += zip(found.scores[0].tolist(), (start + found.indices[0]).tolist(), strict=True)
            truncated += [start + index for index in found.truncated_candidates]
            choice["version"] = found.version
            advance(len(texts))
    best = sorted(hits, key=lambda hit: (-hit[0], hit[1]))[: choice["top_k"]]
    return Found(found, best, truncated)


def _table(query: str, given: Texts, found: Found) -> Table:
    title = (
        f"{escape(console.shorten(query, 60))} · {found.scores.function} similarity · version {found.scores.version}"
    )
    table = Table("", "score", "line" if given.source else "", "text", title=title, title_justify="left")
    for column in table.columns[:3]:
        column.justify, column.no_wrap = "right", True
    for place, (score, index) in enumerate(found.hits, 1):
        cut = " (cut)" if index in found.truncated else ""
        table.add_row(str(place), f"{score:.3f}", str(index + 1), escape(given.items[index]) + cut)
    return table
