"""Hard negatives: texts near an anchor that do not mean the same. What is near is asked of the model itself."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from typing import TYPE_CHECKING

from datasets import Dataset
from sentence_transformers.util import mine_hard_negatives

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.stages import Mining


def mine(pairs: Table, model: SentenceTransformer, part: Mining, prompt: str) -> Dataset:
    """Pairs with columns negative_1, negative_2… added; pairs without enough negatives are left out.

    Every text of a pair's group counts as meaning the same, so that a paraphrase which happens not to be paired with
    the anchor is never taken for a negative.

    Raises:
        ConfigurationError: no pair is left.
    """
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for anchor, positive, group in pairs.rows:
        members[group] |= dict.fromkeys((anchor, positive))
    alike = [(a, b) for texts in members.values() for a in texts for b in texts if a != b]
    dataset = Dataset.from_dict({"anchor": [a for a, _ in alike], "positive": [b for _, b in alike]})
    with contextlib.redirect_stderr(io.StringIO()):  # its bars cannot be turned off
        mined = mine_hard_negatives(
            dataset,
            model,
            range_min=part.skip,
            range_max=part.skip + part.nearest,
            relative_margin=part.relative_margin,
            num_negatives=part.negatives,
            sampling_strategy="top",
            output_format="n-tuple",
            query_prompt=prompt,
            corpus_prompt=prompt,
            verbose=False,
        )
    wanted = {(anchor, positive) for anchor, positive, _ in pairs.rows}
    rows = [row for row in mined if (row["anchor"], row["positive"]) in wanted]
    if not rows:
        msg = "no hard negatives were found: raise mine.nearest or lower mine.relative_margin"
        raise ConfigurationError(msg, field="stages.datasets.mine")
    return Dataset.from_list(rows)
