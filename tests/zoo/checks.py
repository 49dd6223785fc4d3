"""One row of the zoo: made, published, loaded as a server loads it, and compared with sentence-transformers.

`try_row` says what happened; tests hold it against what the row expects, and `python -m tests.zoo` writes it down.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.encoder.encode import encode, forward_all
from munjang.encoder.model_rules import UNLIMITED_TOKENS
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.engine.conversion import ModelConverter
from munjang.engine.version_loader import VersionLoader
from munjang.errors import MunjangError
from munjang.kinds import ModelKind, Role
from munjang.korean import PARAGRAPH
from munjang.normalization import nfc
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.settings import EngineSettings
from tests.warming import convert_here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder

SAME = 0.9999
"""The least cosine in float32."""

FILL = 8
"""How many syllables fill what the last word that fits leaves of the limit."""

NEAR = 1e-4
"""The greatest difference between two scores, before their activation."""

TEXTS = (
    "가",
    "한 남자가 기타를 치며 노래를 부르고 있다.",
    "Kubernetes 클러스터에서 GPU 2장으로 돌렸더니 p99가 35ms였다.",
    "생일 축하해!! 🎉🎂 👩‍👩‍👧 오늘 하루 행복하게 보내 😊",
    unicodedata.normalize("NFD", "맥에서 입력한 한글 파일 이름.txt"),
    "訓民正音 해례본은 1940년에 안동에서 발견되었다. ㅋㅋㅋ ㅠㅠ",
    "[CLS] [PAD] [SEP] [MASK] [UNK]",
    "<s> <pad></s> <mask> <unk> <bos><eos> <|endoftext|>",
    "그는 [PAD] 아무 말도 <pad> 하지 않고 [MASK] 문을 </s> 닫았다. <|endoftext|>",
    "가나다라마바사아자차카타파하" * 22,
    "\t 앞뒤  공백 \n",
)
"""Korean, mixed scripts, emoji, decomposed Hangul, special tokens written out, one word of 308 letters, white space."""


@dataclass(frozen=True)
class Row:
    """A model of the zoo, and what is expected of it.

    Attributes:
        name: the architecture or the configuration.
        make: puts the model into a folder.
        like: real models of this layout.
        runtime: what computes its forward on a CPU.
        packed: whether its texts share rows there.
        alone: whether each of its texts runs by itself.
        max_tokens: the most tokens that are read of a text.
        kind: what it makes of texts.
        refused: how the refusal reads, if it is refused: a regular expression.
        pending: why it is not yet as expected.
    """

    name: str
    make: Callable[[Path], object]
    like: str = ""
    runtime: str = "openvino"
    packed: bool = True
    alone: bool = False
    max_tokens: int = 64
    kind: ModelKind = ModelKind.DENSE
    refused: str = ""
    pending: str = ""


@dataclass(frozen=True)
class Outcome:
    """What happened to a row.

    Attributes:
        refused: the words of the refusal; empty if it was published.
        cosine: the least one to a vector of sentence-transformers.
        difference: the greatest one to a score of sentence-transformers, of a cross-encoder.
        spread: the middle cosine between different texts: near 1, the others would prove nothing.
    """

    refused: str = ""
    runtime: str = ""
    packed: bool = False
    alone: bool = False
    max_tokens: int = 0
    kind: ModelKind = ModelKind.DENSE
    cosine: float = 1.0
    difference: float = 0.0
    spread: float = 0.0


def parameters(rows: Sequence[Row]) -> list[Any]:
    """Rows for `pytest.mark.parametrize`."""
    return [
        pytest.param(row, id=row.name, marks=[pytest.mark.xfail(reason=row.pending)] if row.pending else [])
        for row in rows
    ]


def check(row: Row, folder: Path) -> None:
    """Try a row, and hold what happened against what it expects."""
    found = try_row(row, folder)
    if row.refused:
        assert re.search(row.refused, found.refused)
        return
    assert not found.refused
    assert (found.kind, found.alone, found.max_tokens) == (row.kind, row.alone, row.max_tokens)
    assert (found.runtime, found.packed) == (row.runtime, row.packed)
    assert found.spread < 0.999
    assert found.cosine >= SAME
    assert found.difference <= NEAR


def try_row(row: Row, folder: Path) -> Outcome:
    """Make, publish, load and compare a row, in a folder of its own."""
    row.make(folder / "model")
    registry = Registry(str(folder / "registry"))
    try:
        version = publish_model(registry, folder / "model").version
    except MunjangError as error:
        return Outcome(refused=str(error).replace(str(folder / "model"), "FOLDER"))
    settings = EngineSettings(cache=str(folder / "cache"), compute_type="float32", batch_tokens=512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelConverter, "convert", convert_here)
        manifest, encoder = VersionLoader(registry, settings, interactive=True)(version)
    try:
        cosine, difference, spread = 1.0, 0.0, 0.0
        if manifest.kind is ModelKind.CROSS_ENCODER:
            difference = _scores_compared(encoder, folder / "model")
        else:
            cosine, spread = _compared(encoder, reference(folder / "model", manifest.max_tokens))
        return Outcome(
            difference=difference,
            runtime=encoder.runtime,
            packed=encoder.packs,
            alone=manifest.alone,
            max_tokens=manifest.max_tokens,
            kind=manifest.kind,
            cosine=cosine,
            spread=spread,
        )
    finally:
        encoder.close()


def reference(folder: Path, max_tokens: int) -> SentenceTransformer:
    """The folder by sentence-transformers, in float32; rows say how many tokens are right, and this reads as many."""
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32}).eval()
    if max_tokens < UNLIMITED_TOKENS:
        for module in model.modules():
            if getattr(module, "max_seq_length", None) is not None or hasattr(module, "model_max_length"):
                module.max_seq_length = max_tokens
    return model


def _compared(encoder: Encoder, model: SentenceTransformer) -> tuple[float, float]:
    """The least cosine to sentence-transformers, by role, alone and together; the middle one between texts."""
    texts = [*TEXTS, *_long_texts(encoder)]
    composed = [nfc(text) for text in texts]
    ways: dict[Role, Callable[..., Any]] = {Role.QUERY: model.encode_query, Role.DOCUMENT: model.encode_document}
    cosines, spread = [], 0.0
    for role, way in ways.items():
        expected = way(composed, batch_size=1, convert_to_numpy=True, show_progress_bar=False)
        for found in (_alone(encoder, texts, role), _together(encoder, texts, role)):
            assert found.shape == expected.shape
            cosines.append(_cosines(found, expected).min())
        spread = max(spread, _spread(expected))
    return float(min(cosines)), spread


def _scores_compared(encoder: Encoder, folder: Path) -> float:
    """The greatest difference between scores of pairs and those of sentence-transformers, alone and together."""
    pairs = [(TEXTS[(place + 1) % len(TEXTS)], text) for place, text in enumerate([*TEXTS, *_long_texts(encoder)])]
    composed = [(nfc(query), nfc(text)) for query, text in pairs]
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    expected = model.predict(composed, batch_size=1, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    tokens = encoder.tokenize_pairs(pairs)
    alone = np.concatenate([encoder.forward([one]) for one in tokens])
    return max(float(np.abs(found[:, 0] - expected).max()) for found in (alone, forward_all(encoder, tokens)))


def _together(encoder: Encoder, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
    return encode(encoder, texts, prompting(encoder.info, role=role))


def _alone(encoder: Encoder, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
    return np.concatenate([_together(encoder, [text], role) for text in reversed(texts)])[::-1]


def _long_texts(encoder: Encoder) -> list[str]:
    """Texts that fill the model but for a token, to the last one, and beyond it; and one that is far too long."""
    most = min(encoder.info.max_tokens, 2048)
    words = " ".join([PARAGRAPH] * (1 + most // 400)).split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(encoder.tokenize([" ".join(words[:middle])])[0]) < most
        low, high = (middle, high) if fits else (low, middle - 1)
    fitting = " ".join(words[:low])
    for _ in range(FILL):
        if len(encoder.tokenize([f"{fitting} 가"])[0]) < most:
            fitting += " 가"
    return [fitting, f"{fitting} 가", f"{fitting} 가 나", " ".join(words)]


def _cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.vecdot(normalized(left), normalized(right))


def _spread(vectors: NDArray[np.float32]) -> float:
    unit = normalized(vectors)
    return float(np.median((unit @ unit.T)[np.triu_indices(len(unit), 1)]))
