"""What an encoder is: one model version that turns texts into vectors. Server, worker and tests see only this.

Tokenise, plan and forward are apart so that a server can batch texts of many callers, and a worker can batch a whole
file, through the same `forward`. What happens to a vector after the forward is in `postprocess`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What callers may know of a model.

    Attributes:
        dimensions: components of a full vector.
        max_tokens: the most tokens read of one text, special tokens and prompt included.
        similarity: "cosine", "dot", "euclidean" or "manhattan".
        prompts: the words put before a text, by prompt name.
        default_prompt: the name of the prompt that is used where none is asked for, or "".
        matryoshka_dimensions: the shorter lengths that the model was trained for, ascending.
        int8_scale: the value of one int8 step; 0 if the model has no calibration.
    """

    dimensions: int
    max_tokens: int
    similarity: str = "cosine"
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    matryoshka_dimensions: tuple[int, ...] = ()
    int8_scale: float = 0.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """One tokenised text.

    Attributes:
        ids: token ids, special tokens and prompt included; at most `max_tokens` of them.
        type_ids: token type ids where the model wants others than zeros, else empty.
        prompt_tokens: how many leading tokens the pooling must leave out; 0 for most models.
        truncated: whether tokens were cut off.
        text: the text itself, for models that do not read token ids; else empty.
        prompt: the words to put before `text`; empty where `ids` hold them already.
    """

    ids: tuple[int, ...]
    type_ids: tuple[int, ...] = ()
    prompt_tokens: int = 0
    truncated: bool = False
    text: str = ""
    prompt: str = ""

    def __len__(self) -> int:
        """The number of tokens that the model reads."""
        return len(self.ids)


class Encoder(Protocol):
    """One loaded model version. May be called from any thread; forwards too many to run at a time wait for others."""

    @property
    def info(self) -> ModelInfo:
        """What callers may know of the model."""

    def tokenize(self, texts: Sequence[str], prompt_name: str = "") -> list[Tokens]:
        """Normalise each text to NFC, put the prompt before it and tokenise it, cut at `max_tokens`.

        Raises:
            UnknownPrompt: the model has no prompt of that name.
            InvalidText: a text has unpaired surrogates; `index` says which.
        """

    @property
    def parts(self) -> int:
        """In how many parts, about as long as each other, a long forward runs: between them it can pause."""

    @property
    def streams(self) -> int:
        """How many forwards can run beside each other, each on a share of the processor; 1: each has all of it."""

    @property
    def packs(self) -> bool:
        """Whether texts may share a row, so that a batch of long and short ones has the least padding; see `plan`."""

    def forward(
        self, batch: Sequence[Tokens], pause: Callable[[], None] | None = None, *, beside: bool = False
    ) -> NDArray[np.float32]:
        """Run the model on one batch: float32 [len(batch), dimensions], as the model gives them, not normalised.

        Texts of all lengths may share a batch: how they lie beside each other without much padding is seen to here.
        `pause` is called between the parts of a long forward; it may run other forwards of this encoder.
        `beside` takes a share of the processor, for a forward that others run beside, and does not pause.
        A row does not depend on the other rows of its batch (cosine ≥ 0.9999 in float32). Rows may hold NaN if the
        model makes them; the caller checks.

        Raises:
            MemoryError: the device has not enough memory for this batch; a smaller one may run.
        """

    def computed(self, lengths: Sequence[int]) -> int:
        """How many tokens a forward of texts of these lengths computes: their own, and padding."""

    def tidy(self) -> None:
        """Give memory back that loading took and no forward needs. After warming, before callers come."""

    def close(self) -> None:
        """Give the memory back. The encoder must not be used afterwards."""
