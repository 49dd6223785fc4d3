"""A transformer model as an OpenVINO graph on disk: made once by `convert`, then loaded without torch.

An export is a cache. It is made again if it is missing, wrong, or of another library version:

    <folder>/model.xml · model.bin     the graph with its pooling, float32 weights
    <folder>/rules.json                tokenizer, prompts and padding (`Rules`)

The file of weights is mapped into memory; only the pages that are needed stay there.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import openvino

from munjang.encoder.model_rules import Rules
from munjang.encoder.openvino_runtime.passes import constant, kind

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {"model.xml", "model.bin", "rules.json", "bfloat16-is-too-far"}
"""What an export may hold. A folder that holds anything else is somebody's, and is neither replaced nor deleted."""

NAME = re.compile(r"[0-9a-f]{32}(-int8)?")
"""The name of an export that is deleted when others were used later; one with another name is kept."""

DRAFT = ".munjang-draft-"
"""How the name of a folder begins while an export is written into it."""

DRAFT_SECONDS = 3600.0
"""A draft that was not finished for so long was left behind by a process that was killed."""

_log = logging.getLogger(__name__)


class Export(NamedTuple):
    """A model as OpenVINO runs it.

    Attributes:
        graph: of dynamic frames, with its pooling.
        rules: how the model wants its text.
        file: its weights, which must outlive the graph and what is compiled of it; None where they are in memory.
    """

    graph: openvino.Model
    rules: Rules
    file: MappedWeights | None = None


def place(export: Path, compute_type: str) -> Path:
    """Where the graph for a number format is kept: the one in int8 has its own place beside the exact one."""
    return export.with_name(f"{export.name}-int8") if compute_type == "int8" else export


def read(folder: Path) -> Export | None:
    """An export that was written before; None if there is none that can be read."""
    try:
        rules = Rules.model_validate_json((folder / "rules.json").read_bytes())
        file = MappedWeights(folder / "model.bin")
        graph = openvino.Core().read_model((folder / "model.xml").read_bytes(), file.tensor)
        file.keep_tables(graph)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RuntimeError) as error:
        _log.warning("an export cannot be read: %s", error)
        return None
    with suppress(OSError):  # another process removes it at this moment, or filled a cache that this one may only read
        os.utime(folder)
    return Export(graph, rules, file)


def write(export: Export, folder: Path, kept: int) -> None:
    """Write an export so that readers see all of it or nothing, and keep the `kept` that were used last."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder.parent))
    try:
        openvino.save_model(export.graph, draft / "model.xml", compress_to_fp16=False)
        (draft / "rules.json").write_text(export.rules.model_dump_json(), "utf-8")
        remove(folder)
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)  # another process was first, or the disk is full: serve from memory
    _prune(folder.parent, kept)


def remove(folder: Path) -> None:
    """Drop an export, whole or damaged; a folder that is none stays."""
    with suppress(OSError):
        if FILES.issuperset(path.name for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def _prune(cache: Path, kept: int) -> None:
    """Delete the exports that were used longest ago, and drafts that were left behind; nothing else that lies there."""
    found = [path for path in cache.iterdir() if path.is_dir() and not path.is_symlink()]
    used = {path: path.stat().st_mtime for path in found}
    exports = sorted(filter(_is_export, found), key=used.__getitem__, reverse=True)
    drafts = [path for path in found if path.name.startswith(DRAFT) and time.time() - used[path] > DRAFT_SECONDS]
    for path in exports[kept:]:
        remove(path)
    for path in drafts:
        shutil.rmtree(path, ignore_errors=True)


def _is_export(folder: Path) -> bool:
    return bool(NAME.fullmatch(folder.name)) and all((folder / name).is_file() for name in ("rules.json", "model.xml"))


class MappedWeights:
    """The file of a graph's weights, mapped into memory. It must outlive the graph and what is compiled of it.

    OpenVINO keeps compiled weights in a form of its own. For each new shape it reads those in the file once more, and
    never again for that shape. But of a table, which token ids look up, each forward reads some rows.

    Args:
        file: its path.

    Attributes:
        tensor: the bytes: uint8 [size of the file].

    Raises:
        OSError, ValueError: it cannot be mapped, or is empty.
    """

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)  # a tensor must be writable; nobody does
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._unused = [(0, len(self._map))]
        self.tensor = openvino.Tensor(self._bytes, shared_memory=True)

    def keep_tables(self, graph: openvino.Model) -> None:
        """Keep what this graph looks up when the rest is let go."""
        tables = sorted((start, start + size) for start, size in self._tables(graph))
        starts = [0, *(_up(end) for _, end in tables)]
        ends = [*(start - start % mmap.PAGESIZE for start, _ in tables), len(self._map)]
        self._unused = [(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start]

    def let_go(self, *, tables: bool = False) -> None:
        """Let the system have the pages of all but the tables, or of these too; who needs them reads the file again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for start, size in [(0, len(self._map))] if tables else self._unused:
                self._map.madvise(mmap.MADV_DONTNEED, start, size)

    def _tables(self, graph: openvino.Model) -> Iterator[tuple[int, int]]:
        """Where in the file each table begins, and its size in bytes."""
        for node in graph.get_ordered_ops():
            table = constant(node, 0) if kind(node) == "Gather" else None
            if table is not None:
                start = table.ctypes.data - self._bytes.ctypes.data
                if 0 <= start < len(self._map):
                    yield start, table.nbytes


def _up(place: int) -> int:
    """The beginning of the next page."""
    return -(-place // mmap.PAGESIZE) * mmap.PAGESIZE
