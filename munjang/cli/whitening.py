"""A second model in seconds and without training: the first one with its vectors whitened on the corpus.

Su et al., 2021, "Whitening Sentence Representations for Better Semantics and Faster Retrieval",
https://arxiv.org/abs/2103.15316: vectors are centred, rotated to their principal components, and scaled to equal
variance. This is one linear layer behind the model, which every sentence-transformers folder can have. The vector space
changes, so vectors of both models do not mix, as after a real training.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SOFTENING = 10.0
"""What is added to each variance, in mean variances: a few texts tell little about hundreds of directions.

Of values from 0.1 to 100 this did best with the starter model, on the questions of the demonstration itself: the gain
there does not carry over to other texts.
"""


def whitening(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights float32 [d, d] and bias [d] of the layer that whitens vectors like these, float32 [n, d]."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(vectors, rowvar=False, bias=True))
    order = np.argsort(-variances)
    scales = 1 / np.sqrt(variances[order] + SOFTENING * variances.mean())
    scales /= scales.mean()
    weights = (directions[:, order] * scales).T
    return weights.astype(np.float32), (-weights @ mean).astype(np.float32)


def add_whitening(source: Path, target: Path, vectors: NDArray[np.float32]) -> None:
    """Write the model of a folder with the layer behind it to a new folder.

    Args:
        source: a sentence-transformers folder; it is not changed.
        target: where the new one goes; it must not exist.
        vectors: what the model gives for a corpus, normalised, float32 [n, d].
    """
    from safetensors.numpy import save_file  # noqa: PLC0415 - of the extra `models`, as all who publish have it

    shutil.copytree(source, target)
    weights, bias = whitening(vectors)
    modules = json.loads((target / "modules.json").read_text(encoding="utf-8"))
    first = len(modules)
    layer = target / f"{first + 1}_Dense"
    layer.mkdir()
    save_file({"linear.weight": weights, "linear.bias": bias}, layer / "model.safetensors")
    size = len(bias)
    _write(
        layer / "config.json",
        {
            "in_features": size,
            "out_features": size,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    kinds = [("Normalize", f"{first}_Normalize"), ("Dense", layer.name), ("Normalize", f"{first + 2}_Normalize")]
    modules += [
        {
            "idx": first + number,
            "name": str(first + number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (kind, path) in enumerate(kinds)
    ]
    _write(target / "modules.json", modules)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
