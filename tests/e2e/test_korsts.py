"""The main job on real input: KorSTS through a running server, against its own scores and sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

from munjang.client import Client


@pytest.fixture(scope="module")
def korsts(shared_data):
    """The 1,500 pairs of KorSTS dev, with their scores."""
    lines = (shared_data / "korsts" / "sts-dev.tsv").read_text("utf-8").split("\n")[1:]
    rows = [line.split("\t") for line in lines if line]
    assert len(rows) == 1500
    return [row[5] for row in rows], [row[6] for row in rows], [float(row[4]) for row in rows]


SPREAD = slice(None, None, 3)
"""The sentences whose vectors are compared with those of sentence-transformers, which takes the longest."""

FEW = slice(None, None, 4)
"""Those of them that are also asked for one a call."""


@pytest.mark.timeout(600)
def test_korsts_dev_scores_and_vectors_are_those_of_the_model(korsts, starter_registry, starter_folder, start_server):
    left, right, scores = korsts
    texts = [*left, *right]
    model = SentenceTransformer(str(starter_folder), device="cpu")
    reference = model.encode(texts[SPREAD], prompt_name="query", normalize_embeddings=True)
    del model
    server = start_server(starter_registry)
    with Client(server.target) as client:
        client.wait_ready(240)
        batches = [client.encode(texts[at : at + 256], prompt_name="query") for at in range(0, len(texts), 256)]
    with Client(server.target, batch_size=1, in_flight=16) as client:
        singles = client.encode(texts[SPREAD][FEW], prompt_name="query")

    assert {reply.version for reply in [*batches, singles]} == {1}
    vectors = np.concatenate([reply.vectors for reply in batches])
    assert np.einsum("ij,ij->i", vectors[SPREAD], reference).min() >= 0.9999
    assert np.einsum("ij,ij->i", singles.vectors, reference[FEW]).min() >= 0.9999
    cosines = np.einsum("ij,ij->i", vectors[:1500], vectors[1500:])
    assert spearmanr(cosines, scores).statistic >= 0.80
    assert server.stop() == 0
