"""`munjang encode`: texts in, vectors out, as a table, JSON or a .npy file."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from munjang.cli import console, options
from munjang.cli.texts import Texts, read_texts
from munjang.client import Client, Embeddings
from munjang.client.results import concatenate
from munjang.errors import ConfigurationError
from munjang.output_file import output_file
from munjang.vectors import Precision

SHOWN_COMPONENTS = 4
"""Components of each vector that the table shows."""

ONE_CALL = 256
"""This many texts are sent as one call; more as a stream."""


@options.calls_server
def encode(
    texts: Annotated[list[str] | None, typer.Argument(help="The texts to encode.", show_default=False)] = None,
    *,
    file: options.File = "",
    encoding: options.Encoding = "utf-8",
    role: options.PromptRole = None,
    prompt: options.PromptName = "",
    prompt_text: options.PromptText = None,
    no_prompt: options.NoPrompt = False,
    version: options.Version = "",
    dimensions: options.Dimensions = 0,
    precision: Annotated[Precision, typer.Option(help="The number format of the components.")] = Precision.FLOAT32,
    normalize: Annotated[bool, typer.Option(help="Scale each vector to length 1.")] = True,
    as_json: options.Json = False,
    npy: Annotated[
        Path | None, typer.Option(help="Write the vectors to a .npy file, float32, one row per text.", dir_okay=False)
    ] = None,
    server: options.Server,
) -> None:
    """Turn texts into vectors.

    Examples:
      munjang encode "남자가 드럼을 쳤다." "남자가 음악을 연주하고 있다."

      munjang encode --role query "드럼을 치는 사람"

      munjang encode --file corpus.txt --role document --npy corpus.npy
    """
    if npy and as_json:
        msg = "choose one of --json and --npy"
        raise typer.BadParameter(msg)
    if npy and precision is Precision.UBINARY:
        msg = "--npy holds float32, and ubinary has no such form; use --json"
        raise typer.BadParameter(msg)
    given = read_texts(texts, file, encoding)
    choice: dict[str, Any] = {
        "version": version,
        **options.prompt_choice(role, prompt, prompt_text, none=no_prompt),
        "normalize": normalize,
        "dimensions": dimensions,
        "precision": precision,
    }
    with server.connect() as client:
        pieces = _batches(client, given, choice)
        if npy:
            _write(pieces, npy, len(given.items))
            return
        found = concatenate(list(pieces))
    if as_json:
        console.print_json(_json(found, precision))
    else:
        _print(given, found)


def _batches(client: Client, given: Texts, choice: dict[str, Any]) -> Iterator[Embeddings]:
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


def _write(pieces: Iterator[Embeddings], path: Path, rows: int) -> None:
    with NpyWriter(path, rows) as file:
        for piece in pieces:
            file.write(_as_float32(piece))
            made_by = f"version {piece.version} (space {piece.space_id})"
    console.note(f"wrote {rows} × {file.columns} float32 to {path}, by {made_by}")


def _as_float32(found: Embeddings) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = found.vectors.astype(np.float32)
    return rows * np.float32(found.scale) if found.vectors.dtype == np.int8 else rows


def _json(found: Embeddings, precision: Precision) -> dict[str, Any]:
    return {
        "version": found.version,
        "space_id": found.space_id,
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


class NpyWriter:
    """A .npy file of float32 rows, written as the rows arrive; if the `with` block fails, the old file stays.

    Attributes:
        columns: of each row; 0 before the first.
    """

    def __init__(self, path: Path, rows: int) -> None:
        """Open the file.

        Args:
            path: a file, which is replaced at the end, or a FIFO or device, which is written into.
            rows: how many rows will be written.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self.columns = 0
        self._path = path
        self._rows = rows
        self._open = ExitStack()
        with self._errors():
            self._file = self._open.enter_context(output_file(path))

    def write(self, rows: NDArray[np.float32]) -> None:
        """Append rows [n, d].

        Raises:
            ConfigurationError: they cannot be written.
        """
        with self._errors():
            if not self.columns:
                self.columns = rows.shape[1]
                header = {"shape": (self._rows, self.columns), "fortran_order": False, "descr": "<f4"}
                np.lib.format.write_array_header_1_0(self._file, header)
            self._file.write(np.ascontiguousarray(rows, "<f4").data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._errors():
            self._open.__exit__(kind, error, trace)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"{self._path} cannot be written: {error.strerror}"
            raise ConfigurationError(msg, field="npy") from error
