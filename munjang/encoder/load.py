"""Loads a sentence-transformers folder as an encoder: chooses device, number format and runtime.

Only this module imports both runtimes, each where it is needed: torch takes seconds to import, OpenVINO is optional.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from munjang.encoder.sentence_encoder import ComputeType, LoadOptions, Runtime, SentenceEncoder
from munjang.errors import ConfigurationError, ModelLoadFailed

__all__ = [
    "ComputeType",
    "LoadOptions",
    "Runtime",
    "SentenceEncoder",
    "computes_in_bfloat16",
    "load_encoder",
    "runs_on_cpu",
]

DEFAULTS = LoadOptions()

_log = logging.getLogger(__name__)


def load_encoder(folder: Path, options: LoadOptions = DEFAULTS) -> SentenceEncoder:
    """Load a sentence-transformers folder, from disk only, safetensors only, without running code from it.

    Raises:
        ConfigurationError: the machine has no such device, runtime or number format.
        ModelLoadFailed: the folder cannot be loaded.
    """
    if _wants_openvino(options):
        encoder = _with_openvino(folder, options)
        if encoder is not None:
            return encoder
    from munjang.encoder.torch_runtime.load import load_torch  # noqa: PLC0415 - seconds of import, not for a cached export

    return load_torch(folder, options)


def runs_on_cpu(options: LoadOptions) -> bool:
    """Whether these options mean a CPU, where "auto" computes in float32."""
    return options.device == "cpu" or (options.device == "auto" and not _has_gpu())


def computes_in_bfloat16(options: LoadOptions) -> bool:
    """Whether these options mean OpenVINO on a processor that computes in bfloat16 by itself, about twice as fast."""
    if not _wants_openvino(options):
        return False
    from munjang.encoder.openvino_runtime.compiled import supported  # noqa: PLC0415 - an optional library

    return supported("bfloat16")


def _wants_openvino(options: LoadOptions) -> bool:
    installed = find_spec("openvino") is not None
    if options.runtime == "openvino":
        if not installed:
            msg = "runtime 'openvino' needs the package openvino: pip install openvino"
            raise ConfigurationError(msg, field="runtime")
        if options.alone:
            msg = "the vectors of this model depend on the texts beside them, and only torch runs each text alone"
            raise ModelLoadFailed(msg)
        return True
    return options.runtime == "auto" and not options.alone and installed and runs_on_cpu(options)


def _with_openvino(folder: Path, options: LoadOptions) -> SentenceEncoder | None:
    """The model by OpenVINO, or None where torch should run it."""
    from munjang.encoder.openvino_runtime.load import load_openvino  # noqa: PLC0415 - an optional library

    try:
        return load_openvino(folder, options)
    except (ConfigurationError, ModelLoadFailed):
        raise
    except Exception as error:
        if options.runtime == "openvino":
            msg = f"OpenVINO cannot run the model: {error}"
            raise ModelLoadFailed(msg) from error
        _log.warning("OpenVINO cannot run the model, torch will: %s", error)
        return None


def _has_gpu() -> bool:
    """Whether torch would find a GPU; without importing torch where there is not even a device file."""
    if not any(any(Path("/dev").glob(pattern)) for pattern in ("nvidia[0-9]*", "dxg", "kfd")):
        return False
    from munjang.encoder.torch_runtime.load import pick_device  # noqa: PLC0415

    return pick_device("auto").type != "cpu"
