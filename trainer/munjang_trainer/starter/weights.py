"""The tensors of the model file under the names that transformers' BertModel gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from munjang_trainer.starter.q4file import Q4File

_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def bert_weights(
    file: Q4File, kept: Sequence[int], progress: Callable[[int], None] = lambda _: None
) -> dict[str, NDArray[np.float32]]:
    """All weights of a BertModel in float32, with the kept rows of the word embeddings; `progress` is told layers done.

    The pooler, which mean pooling does not use and the file does not hold, is zeros, so that the model loads with no
    weight missing.
    """
    shape = file.shape
    weights = dict(_embeddings(file, kept))
    for layer in range(shape.layers):
        weights |= dict(_layer(file, layer))
        progress(1)
    weights["pooler.dense.weight"] = np.zeros((shape.hidden, shape.hidden), np.float32)
    weights["pooler.dense.bias"] = np.zeros(shape.hidden, np.float32)
    return weights


def _embeddings(file: Q4File, kept: Sequence[int]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    hidden = file.shape.hidden
    yield "embeddings.word_embeddings.weight", file.matrix("emb.word", hidden, np.asarray(kept))
    yield "embeddings.position_embeddings.weight", file.vector("emb.pos").reshape(-1, hidden)
    yield "embeddings.token_type_embeddings.weight", file.vector("emb.type").reshape(-1, hidden)
    yield "embeddings.LayerNorm.weight", file.vector("emb.ln.w")
    yield "embeddings.LayerNorm.bias", file.vector("emb.ln.b")


def _layer(file: Q4File, layer: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for short, name in _LAYER.items():
        source, target = f"l{layer}.{short}", f"encoder.layer.{layer}.{name}"
        if short.endswith("ln"):
            yield f"{target}.weight", file.vector(f"{source}.w")
        else:
            columns = file.shape.feed_forward if short == "fo" else file.shape.hidden
            yield f"{target}.weight", file.matrix(f"{source}.w", columns)
        yield f"{target}.bias", file.vector(f"{source}.b")
