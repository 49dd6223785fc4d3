"""A transformer model as an OpenVINO graph on disk: made once from the torch model, then loaded without torch.

An export is a cache, made again whenever it is missing, of another library version, or not right:

    <folder>/model.xml · model.bin     the graph with its pooling, float32 weights
    <folder>/rules.json                tokenizer, prompts and padding (`Rules`)
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import openvino

from munjang.encoder.contract import Tokens
from munjang.encoder.frames import arrays
from munjang.encoder.heads import join_heads
from munjang.encoder.layout import Frame
from munjang.encoder.mapped import Mapped
from munjang.encoder.merging import merge_projections
from munjang.encoder.rules import Rules
from munjang.encoder.scale import fold_scale

DRAFT_SECONDS = 3600.0
"""A draft that was not finished for so long was left behind by a process that was killed."""

EXAMPLE = (5, 3, 4)
"""Tokens of the texts that a model is traced with."""

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
    file: Mapped | None = None


def place(export: Path, compute_type: str) -> Path:
    """Where the graph for a number format is kept: the one in int8 has its own place beside the exact one."""
    return export.with_name(f"{export.name}-int8") if compute_type == "int8" else export


def read(folder: Path) -> Export | None:
    """An export that was written before; None if there is none that can be read."""
    try:
        rules = Rules.model_validate_json((folder / "rules.json").read_bytes())
        file = Mapped(folder / "model.bin")
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
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        openvino.save_model(export.graph, draft / "model.xml", compress_to_fp16=False)
        (draft / "rules.json").write_text(export.rules.model_dump_json(), "utf-8")
        remove(folder)
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)  # another process was first, or the disk is full: serve from memory
    _prune(folder.parent, kept)


def remove(folder: Path) -> None:
    """Drop an export."""
    shutil.rmtree(folder, ignore_errors=True)


def convert(modules: list[Any], rules: Rules) -> openvino.Model:
    """Trace a transformer with its pooling into a graph of dynamic frames; its inputs are those of `frames.arrays`.

    Raises:
        Exception: whatever torch or OpenVINO raise for an architecture that cannot be traced.
    """
    from munjang.encoder.pipeline import Attention, Pipeline, tensors  # noqa: PLC0415 - torch, only where there is no export yet

    texts = [Tokens((5,) * length) for length in EXAMPLE]
    frame = Frame(sum(EXAMPLE), ((0, 1), (2,)) if rules.packs else ((0,), (1,), (2,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every Python branch in the library's own code
        pipeline = Pipeline(modules, Attention.ROWS if rules.packs else Attention.PADDED).eval()
        graph = openvino.convert_model(pipeline, example_input=tensors(arrays(frame, texts, rules)))
    fold_scale(graph)
    merge_projections(graph)
    join_heads(graph)
    return graph


def _prune(cache: Path, kept: int) -> None:
    used = {path: path.stat().st_mtime for path in cache.iterdir()}
    exports = sorted((path for path in used if not path.name.startswith(".")), key=used.__getitem__, reverse=True)
    left = [path for path in used if path.name.startswith(".draft-") and time.time() - used[path] > DRAFT_SECONDS]
    for path in (*exports[kept:], *left):
        remove(path)
