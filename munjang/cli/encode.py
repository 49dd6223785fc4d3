"""`munjang encode`: texts in, vectors out, as a table, JSON or a .npy file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from munjang.cli import console, options
from munjang.cli.connection import connect
from munjang.cli.npy import NpyWriter
from munjang.cli.texts import Texts, gather
from munjang.client import Client, Embeddings
from munjang.client.results import concatenate
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN_COMPONENTS = 4
"""Of each vector in the table."""

ONE_CALL = 256
"""So many texts go as one call; more go as a stream."""


def encode(
    texts: Annotated[list[str] | None, typer.Argument(help="The texts to encode.", show_default=False)] = None,
    *,
    file: options.File = "",
    prompt: Annotated[str, typer.Option(help="One of the model's prompts, such as query.")] = "",
    version: options.Version = "",
    dimensions: options.Dimensions = 0,
    precision: Annotated[Precision, typer.Option(help="The number format of the components.")] = Precision.FLOAT32,
    normalize: Annotated[bool, typer.Option(help="Scale each vector to length 1.")] = True,
    as_json: options.Json = False,
    npy: Annotated[
        Path | None, typer.Option(help="Write the vectors to a .npy file, float32, one row a text.", dir_okay=False)
    ] = None,
    target: options.Target = "",
    token: options.Token = "",
    timeout: options.Timeout = 0,
    tls: options.Tls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> None:
    """Turn texts into vectors.

    Examples:
      munjang encode "남자가 드럼을 쳤다." "남자가 음악을 연주하고 있다."

      munjang encode --file corpus.txt --prompt passage --npy corpus.npy
    """
    if npy and as_json:
        msg = "choose one of --json and --npy"
        raise typer.BadParameter(msg)
    if npy and precision is Precision.UBINARY:
        msg = "--npy holds float32, and ubinary has no such form; use --json"
        raise typer.BadParameter(msg)
    given = gather(texts, file)
    choice: dict[str, Any] = {
        "version": version,
        "prompt_name": prompt,
        "normalize": normalize,
        "dimensions": dimensions,
        "precision": precision,
    }
    with connect(target=target, token=token, timeout=timeout, tls=tls, ca=ca, cert=cert, key=key) as client:
        pieces = _batches(client, given, choice)
        if npy:
            _write(pieces, npy)
            return
        found = concatenate(list(pieces))
    if as_json:
        console.print_json(_json(found, precision))
    else:
        _print(given, found)


def _batches(client: Client, given: Texts, choice: dict[str, Any]) -> "Iterator[Embeddings]":
    """The embeddings batch by batch, indices counted from the first text; many texts with a progress bar."""
    if len(given.items) <= ONE_CALL:
        with given.named_errors():
            yield client.encode(given.items, **choice)
        return
    with console.progress("encoding", len(given.items)) as advance:
        for batch in client.encode_stream(given.items, **choice):
            with given.named_errors(batch.id):
                found = batch.result()
            advance(len(found))
            yield replace(found, truncated=tuple(batch.id + index for index in found.truncated))


def _write(pieces: "Iterator[Embeddings]", path: Path) -> None:
    with NpyWriter(path) as file:
        for piece in pieces:
            file.write(_as_float32(piece))
            version = piece.version
    console.note(f"wrote {file.rows} × {file.columns} float32 to {path}, by version {version}")


def _as_float32(found: Embeddings) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = found.vectors.astype(np.float32)
    return rows * np.float32(found.scale) if found.vectors.dtype == np.int8 else rows


def _json(found: Embeddings, precision: Precision) -> dict[str, Any]:
    return {
        "version": found.version,
        "dimensions": found.dimensions,
        "precision": str(precision),
        **({"scale": found.scale} if found.scale else {}),
        "vectors": found.vectors.tolist(),
        "token_counts": found.token_counts.tolist(),
        "truncated": list(found.truncated),
    }


def _print(given: Texts, found: Embeddings) -> None:
    title = f"version {found.version} · {found.dimensions} dimensions"
    table = Table("text", "tokens", "vector", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for index, (text, row) in enumerate(zip(given.items, found.vectors, strict=True)):
        first = "  ".join(f"{value:+.4f}" if row.dtype.kind == "f" else str(value) for value in row[:SHOWN_COMPONENTS])
        cut = " (cut)" if index in found.truncated else ""
        table.add_row(escape(console.shorten(text, 60)), f"{found.token_counts[index]}{cut}", f"{first}  …")
    console.stdout().print(table)
