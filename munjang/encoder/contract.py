"""What an encoder is: one model version that turns texts into vectors. Server, worker and tests use only this.

Tokenise, plan and forward are separate, so that a server can batch texts of many callers and a worker a whole file,
through the same `forward`. `postprocess` decides what happens to a vector after the forward.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.kinds import Role


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What callers may know of a model.

    Attributes:
        dimensions: components of a full vector.
        max_tokens: the most tokens read of one text, special tokens and prompt included.
        similarity: "cosine", "dot", "euclidean" or "manhattan".
        prompts: the words put before a text, by prompt name.
        default_prompt: the name of the prompt that is used by default, or "".
        matryoshka_dimensions: the shorter lengths that the model was trained for, ascending.
        int8_scale: the value of one int8 step; 0 if the model has no calibration.
        kind: what it makes of texts. A cross-encoder's vectors have one component, the score of a pair, and it is
            compared with none: `similarity` is "".
        activation: of a cross-encoder, what makes its final scores of these: see `postprocess.activated`.
    """

    dimensions: int
    max_tokens: int
    similarity: str = "cosine"
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    matryoshka_dimensions: tuple[int, ...] = ()
    int8_scale: float = 0.0
    kind: ModelKind = ModelKind.DENSE
    activation: str = "identity"


@dataclass(frozen=True, slots=True)
class Prompting:
    """How texts are put to a model.

    Attributes:
        prompt: the words before each text, as they are; "" for none.
        role: what the texts are for; a model with a route of its own for a role takes it. None: its default route.
    """

    prompt: str = ""
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """One tokenised text, or pair of texts.

    Attributes:
        ids: token ids, special tokens and prompt included; at most `max_tokens` of them.
        type_ids: token type ids if the model needs others than zeros, else empty.
        prompt_tokens: how many leading tokens the pooling must leave out; 0 for most models.
        truncated: whether tokens were cut off.
        text: the text itself, for models that do not read token ids; else empty.
        prompt: the words to put before `text`; empty if `ids` hold them already.
        role: what the text is for, where the model has a route of its own for it: `forward` runs texts of different
            roles apart. None for all other models, so that their texts share a forward whatever they are for.
    """

    ids: tuple[int, ...]
    type_ids: tuple[int, ...] = ()
    prompt_tokens: int = 0
    truncated: bool = False
    text: str = ""
    prompt: str = ""
    role: Role | None = None

    def __len__(self) -> int:
        """The number of tokens that the model reads."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a text, for a person to see.

    Attributes:
        id: of the token.
        text: what it stands for: a part of the text, or the name of a special token.
        special: whether the model adds it to every text.
        start: where it begins in the normalised text with its prompt, in characters; None for a special token.
        stop: where it ends.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class ForwardCancelled(Exception):
    """The forward was ended early because no caller waits for it."""


class Cancellation:
    """Lets any thread end a running forward early. One object per forward."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._stop: Callable[[], None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End the forward, now or as soon as it starts. May be called from any thread, and more than once."""
        with self._lock:
            if not self._cancelled:
                self._cancelled = True
                if self._stop is not None:
                    self._stop()

    def check(self) -> None:
        """Raise what a cancelled forward raises.

        Raises:
            ForwardCancelled: `cancel` was called.
        """
        if self._cancelled:
            raise ForwardCancelled

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """For a runtime: `stop` ends what runs inside. It is called once at the most, and never after the exit.

        `stop` is called with a lock held: it must return at once, and must not use this object.

        Raises:
            ForwardCancelled: `cancel` was called before.
        """
        with self._lock:
            self.check()
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None


class Encoder(Protocol):
    """One loaded model version. May be called from any thread; forwards wait while too many others run."""

    @property
    def info(self) -> ModelInfo:
        """What callers may know of the model."""

    @property
    def streams(self) -> int:
        """How many forwards with `share` can run at the same time; 1: such a forward runs like any other."""

    @property
    def on_cpu(self) -> bool:
        """Whether forwards compute on this machine's processors, so that their time shows progress."""

    @property
    def packs(self) -> bool:
        """Whether texts may share a row, so that a batch of long and short ones has little padding; see `plan`."""

    def tokenize(self, texts: Sequence[str], how: Prompting | None = None) -> list[Tokens]:
        """Normalise each text to NFC, put the prompt before it and tokenise it, cut at `max_tokens`.

        Args:
            texts: any number.
            how: the words before each text and what it is for, see `prompting`; None: the model's default prompt.

        Raises:
            InvalidText: a text has unpaired surrogates; `index` says which.
        """

    def pieces(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[list[Piece]]:
        """The tokens of each text after the words of a prompt, all of them, with those past `max_tokens`.

        Args:
            texts: any number.
            prompt: the words before each text, or "".
            special: whether special tokens are among them.

        Raises:
            InvalidText: a text has unpaired surrogates; `index` says which.
            WrongKind: this model does not read token ids.
        """

    def tokenize_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """For a cross-encoder: normalise query and document of each pair to NFC, and tokenise them together.

        Where both have more than `max_tokens`, the longer one is cut first. Texts that `tokenize` makes tokens of are
        read too: they tell how long a forward takes, and whether one succeeds.

        Raises:
            WrongKind: the model is no cross-encoder.
            InvalidText: a text has unpaired surrogates.
        """

    def forward(
        self, batch: Sequence[Tokens], *, share: bool = False, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """Run the model on one batch: float32 [len(batch), dimensions], as the model gives them, not normalised.

        Texts of any lengths may share a batch; the encoder packs them into rows. A row of the result does not depend
        on the other texts of its batch (cosine ≥ 0.9999 in float32), nor on earlier calls. Rows may hold NaN if the
        model makes them; the caller checks.

        Args:
            batch: the tokenised texts, one at least.
            share: take one stream, a share of the processor, so that other forwards run at the same time, one without
                `share` among them; else take all threads.
            cancellation: lets another thread end this forward early.

        Raises:
            MemoryError: the device has not enough memory for this batch; a smaller one may run.
            ForwardCancelled: it was cancelled. The encoder can be used as before.
        """

    def computed(self, lengths: Sequence[int]) -> int:
        """How many tokens a forward of texts of these lengths computes: their own, and padding."""

    def tidy(self) -> None:
        """Release memory that loading took and no forward needs. After warming, before callers arrive."""

    def close(self) -> None:
        """Release the memory. The encoder must not be used afterwards."""
