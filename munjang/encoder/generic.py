"""Models that are not a plain transformer over token ids (static embeddings, bags of words, slow tokenizers, routers).

They run through sentence-transformers' own preprocessing, text by text, which every model of that library has. Slower
than the fast path, and it cannot say whether a text was cut, but it serves whatever the library loads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

from munjang.encoder.contract import Tokens
from munjang.encoder.layout import computed, lay_out
from munjang.encoder.text import normalize
from munjang.encoder.tokenizer import prompt_text
from munjang.encoder.torch_model import StoppableLayers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation


class GenericModel:
    """Tokenise and forward by a whole `SentenceTransformer`. `Tokens.text` carries the text to the forward."""

    def __init__(self, model: Any, prompts: Mapping[str, str], default_prompt: str) -> None:
        self._model = model
        self._prompts = prompts
        self._default = default_prompt
        self._layers = StoppableLayers(model)
        self._turn = threading.Lock()

    def tokenize(self, texts: Sequence[str], prompt_name: str = "") -> list[Tokens]:
        """Tokens that carry the text and, where the model has token ids, how many there are.

        Raises:
            UnknownPrompt: there is no prompt of that name.
            InvalidText: a text is not valid Unicode.
        """
        prompt = prompt_text(self._prompts, prompt_name, self._default)
        return [self._tokens(text, prompt) for text in normalize(texts)]

    streams = 1
    packs = False

    def __call__(
        self,
        batch: Sequence[Tokens],
        *,
        share: bool = False,  # noqa: ARG002 - the library's tokenizers are not for several threads
        cancellation: Cancellation | None = None,
    ) -> NDArray[np.float32]:
        """See `Encoder.forward`."""
        rows: list[Any] = [None] * len(batch)
        with self._turn, self._layers.stopped_by(cancellation), torch.inference_mode():
            for prompt, members in self._groups(batch):
                texts = [batch[row].text for row in members]
                vectors = self._model.encode(
                    texts, prompt=prompt or None, batch_size=len(texts), convert_to_tensor=True
                )
                for row, vector in zip(members, vectors.float().cpu(), strict=True):
                    rows[row] = vector
        vectors_out: NDArray[np.float32] = torch.stack(rows).numpy()
        return vectors_out

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return computed(lengths, packs=False)

    @staticmethod
    def _groups(batch: Sequence[Tokens]) -> Iterator[tuple[str, list[int]]]:
        """Prompts and rows of texts that have like lengths and one prompt."""
        for frame in lay_out([len(tokens) for tokens in batch], packs=False):
            by_prompt: dict[str, list[int]] = {}
            for row in frame.texts:
                by_prompt.setdefault(batch[row].prompt, []).append(row)
            yield from by_prompt.items()

    def _tokens(self, text: str, prompt: str) -> Tokens:
        ids = self._model.preprocess([text], prompt=prompt or None).get("input_ids")
        flat = tuple(ids.flatten().tolist()) if ids is not None else (0,)
        return Tokens(ids=flat or (0,), text=text, prompt=prompt)
