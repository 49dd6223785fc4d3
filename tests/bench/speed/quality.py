"""Section `quality`: what each number format does to the vectors, on KorSTS dev where it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from scipy.stats import spearmanr

from munjang.encoder.encode import encode
from munjang.encoder.load import ComputeType, LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.errors import ConfigurationError
from munjang.kinds import Role
from tests.bench.speed import texts

if TYPE_CHECKING:
    from tests.bench.speed.context import Context


def measure(context: Context) -> dict[str, Any]:
    """Cosines to float32, and Spearman's correlation with people's scores, by number format."""
    rows = texts.scored(context.data) if context.data else []
    rows = rows[:50] if context.quick else rows
    left, right = ([row[side] for row in rows] for side in (0, 1))
    plain = texts.take(context.texts, 100 if context.quick else 1000)
    found: dict[str, Any] = {"pairs": len(rows), "formats": {}}
    exact = None
    for kind in get_args(ComputeType):
        if kind == "auto":
            continue
        options = LoadOptions(device="cpu", compute_type=kind, export=context.work / "exports" / "bench")
        try:
            encoder = load_encoder(context.folder, options)
        except ConfigurationError as error:
            found.setdefault("missing", {})[kind] = str(error)
            continue
        vectors = normalized(encode(encoder, plain))
        exact = vectors if exact is None else exact
        cosines = np.vecdot(vectors, exact)
        figures = {"worst_cosine": float(cosines.min()), "mean_cosine": float(cosines.mean())}
        if rows:
            how = prompting(encoder.info, role=Role.QUERY)
            sides = [normalized(encode(encoder, side, how)) for side in (left, right)]
            figures["spearman"] = float(spearmanr(np.vecdot(*sides), [row[2] for row in rows])[0])
        found["formats"][kind] = figures
    return found
