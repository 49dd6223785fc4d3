"""A sentence-transformers folder by OpenVINO: from its export if there is one, else through torch once."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from munjang.encoder.openvino_runtime import export as exports
from munjang.encoder.openvino_runtime.compiled import InteractiveForward, ListForward, supported
from munjang.encoder.sentence_encoder import LoadOptions, SentenceEncoder
from munjang.encoder.tokenizer import tokenizer_for
from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


def load_openvino(folder: Path, options: LoadOptions) -> SentenceEncoder:
    """Load a folder into OpenVINO on the CPU; see `load_encoder`.

    Raises:
        ConfigurationError: the processor does not compute in that number format.
        ModelLoadFailed: the folder cannot be loaded at all.
        UnsupportedModel: not a plain transformer; torch runs it.
        Exception: whatever OpenVINO raises for an architecture that it cannot convert; torch runs it.
    """
    compute_type = "float32" if options.compute_type == "auto" else options.compute_type
    if not supported(compute_type):
        msg = f"this processor does not compute in {compute_type}"
        raise ConfigurationError(msg, field="compute_type")
    export = _export(folder, options)
    runtime = InteractiveForward if options.interactive else ListForward
    forward = runtime(export, compute_type=compute_type, threads=options.threads)
    info, tokenizer = export.rules.info(options.int8_scale), tokenizer_for(export.rules)
    tidy = partial(export.file.let_go, tables=True) if export.file else None
    return SentenceEncoder(
        *(info, "openvino", compute_type),
        on_cpu=True,
        _tokenize=tokenizer,
        _forward=forward,
        _tidy=tidy,
        _tokenize_pairs=tokenizer.pairs,
        _pieces=tokenizer.pieces,
    )


def _export(folder: Path, options: LoadOptions) -> exports.Export:
    """The export; made first where there is none, in another process where the options name one that does it."""
    kept = options.export and exports.place(options.export, options.compute_type)
    if kept and (found := exports.read(kept)):
        return found
    if kept and options.converter:
        options.converter(folder, options)
        if found := exports.read(kept):
            return found
        _log.warning("the converted model could not be kept in the cache; it is made again in this process")
    from munjang.encoder.openvino_runtime.convert import convert  # noqa: PLC0415 - torch, only where there is no export

    return convert(folder, options)
