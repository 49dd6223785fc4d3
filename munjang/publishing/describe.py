"""What a manifest says about a model, measured by running it: facts, probe vectors, int8 calibration, library versions.

The int8 step is one symmetric scale: the largest component of the built-in sentences' vectors, plus a fifth, divided by
127. `docs/decisions.md` has the measurements behind it.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import (
    LONGEST_AT_LOAD,
    check_score,
    check_vector,
    encode,
    forward_all,
    longest_pair,
    longest_text,
)
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting, promptings
from munjang.errors import ModelLoadFailed, UnsupportedModel
from munjang.kinds import ModelKind, Role
from munjang.korean import PARAGRAPH, PROBES, SENTENCES
from munjang.publishing.kind import kind_of
from munjang.publishing.truth import find_dependence
from munjang.registry.layout import Description, Probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder
    from munjang.encoder.sentence_encoder import SentenceEncoder

MARGIN = 1.2
"""Room for texts that reach further than the built-in sentences."""

STEPS = 127

NO_POOLING = (
    "the folder has no pooling: its modules make a vector of each token, and none of the whole text. Add one: "
    "SentenceTransformer(modules=[Transformer(folder), Pooling(dimensions, pooling_mode='mean')]).save(new_folder), "
    "with the pooling that the model was trained with"
)

QUERY = SENTENCES[11]
"""The query of most probe pairs: a question of a sentence."""

LIBRARIES = ("munjang", "numpy", "safetensors", "sentence-transformers", "tokenizers", "torch", "transformers")


def describe(folder: Path) -> Description:
    """Load a model folder on the CPU in float32 and describe it; lineage and metrics are left to the caller.

    A model whose vectors depend on other texts is described as one that runs each text alone, if that makes them right.

    Raises:
        ModelLoadFailed: it cannot be loaded, fails on a probe text, or makes a vector of zeros or not finite values.
        UnsupportedModel: it makes no vector of a whole text, another one each time, and no score of a pair.
    """
    kind = kind_of(folder)
    if kind is ModelKind.CROSS_ENCODER:
        with _loaded(folder, kind) as encoder:
            return _describe_cross_encoder(encoder)
    dependence = ""
    for alone in (False, True):
        with _loaded(folder, kind, alone=alone) as encoder:
            with _failures(encoder):
                dependence = find_dependence(encoder)
            if not dependence:
                return _describe_dense(encoder).model_copy(update={"alone": alone})
    msg = f"{dependence}, also if each text runs alone: a model whose vectors change cannot be searched with"
    raise UnsupportedModel(msg)


@contextmanager
def _loaded(folder: Path, kind: ModelKind, *, alone: bool = False) -> Iterator[SentenceEncoder]:
    options = LoadOptions(device="cpu", compute_type="float32", runtime="torch", kind=kind, alone=alone)
    try:
        encoder = load_encoder(folder, options)
    except KeyError as error:  # while it was tried whether texts can share a row
        if error.args == ("sentence_embedding",):
            raise UnsupportedModel(NO_POOLING) from error
        raise
    try:
        yield encoder
    finally:
        encoder.close()


def _describe_dense(encoder: SentenceEncoder) -> Description:
    with _failures(encoder):
        texts = list(dict.fromkeys([*PROBES, longest_text(encoder, LONGEST_AT_LOAD), longest_text(encoder)]))
        vectors = encode(encoder, texts)
        scale = calibrate(encoder)
    for text, vector in zip(texts, vectors, strict=True):
        check_vector(text, vector)
    probes = [Probe.of(text, vector) for text, vector in zip(texts, vectors, strict=True)]
    return _description(encoder, probes[: len(PROBES) + 1], scale)


def _describe_cross_encoder(encoder: SentenceEncoder) -> Description:
    longest = [longest_pair(encoder, LONGEST_AT_LOAD), (PARAGRAPH, longest_text(encoder, LONGEST_AT_LOAD))]
    pairs = [*((QUERY, text) for text in PROBES), *longest]
    with _failures(encoder):
        scores = forward_all(encoder, encoder.tokenize_pairs([*pairs, longest_pair(encoder)]))
    for pair, score in zip([*pairs, longest_pair(encoder)], scores, strict=True):
        check_score(pair, score)
    probes = [Probe.of(text, score, query) for (query, text), score in zip(pairs, scores[: len(pairs)], strict=True)]
    return _description(encoder, probes, 0.0)


@contextmanager
def _failures(encoder: SentenceEncoder) -> Iterator[None]:
    """Say what it means if the model fails on the built-in sentences."""
    try:
        yield
    except KeyError as error:
        if error.args == ("sentence_embedding",):
            raise UnsupportedModel(NO_POOLING) from error
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        msg = f"the model fails on the built-in sentences, of up to {encoder.info.max_tokens} tokens: {error}"
        raise ModelLoadFailed(msg) from error


def _description(encoder: SentenceEncoder, probes: list[Probe], int8_scale: float) -> Description:
    info = encoder.info
    return Description(
        dimensions=info.dimensions,
        max_tokens=info.max_tokens,
        token_limits=dict(encoder.token_limits),
        kind=info.kind,
        similarity=info.similarity,
        prompts=dict(info.prompts),
        default_prompt=info.default_prompt,
        int8_scale=int8_scale,
        probes=tuple(probes),
        libraries={name: metadata.version(name) for name in LIBRARIES},
    )


def calibrate(encoder: Encoder) -> float:
    """The value of one int8 step for normalised vectors of this model; 0 if all are zeros.

    The prompts and roles take turns, so a model with many does not run longer than one with none.
    """
    info = encoder.info
    ways = [*promptings(info.prompts), *(prompting(info, role=role) for role in Role)]
    tokens = [encoder.tokenize([text], ways[turn % len(ways)])[0] for turn, text in enumerate(SENTENCES)]
    return step_of(forward_all(encoder, tokens))


def step_of(vectors: NDArray[np.float32]) -> float:
    """The step for float32 [n, d] vectors, which are normalised here."""
    return float(np.abs(normalized(vectors)).max()) * MARGIN / STEPS
