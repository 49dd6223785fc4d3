"""How one transformer model takes its text: tokenizer, limit, prompts, padding. Plain data that can be kept on disk.

With these rules, a cached export of a model serves without loading the model's library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from munjang.encoder.contract import ModelInfo
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Mapping

UNLIMITED_TOKENS = 1 << 20
"""What a model without a limit of its own (static embeddings) is taken to read."""


class Rules(BaseModel):
    """What is needed to go from a text to the arrays that the transformer reads.

    Attributes:
        max_tokens: the most tokens that are read of any text.
        role_tokens: the most that are read of a text of a role, "" for none, where that is fewer.
        tokenizer: the tokenizer as its own JSON.
        truncation_side: from which end a long text loses its tokens.
        special_ids: ids of special tokens.
        splits_special_tokens: whether a special token that is written in a text is read as plain text.
        pools_prompt: whether the pooling reads the prompt's tokens.
        pad_id: the id that fills up rows behind their texts, whichever side the tokenizer pads: nothing looks at it.
        pad_type_id: its token type id.
        wants_type_ids: whether the transformer takes token type ids.
        packs: whether several texts may share a row, see `torch_runtime.pipeline`.
        first_position: the position of a text's first token, where it packs.
        uncounted_id: the token id that takes no position, where it packs; None: each takes one.
        kind: what the model makes of texts.
        activation: see `ModelInfo.activation`.
        alone_beyond: a text of more tokens is a forward of its own, without padding, which would change its vector.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: int
    max_tokens: int
    role_tokens: dict[Literal["", "query", "document"], int] = Field(default_factory=dict)
    similarity: str
    prompts: dict[str, str]
    default_prompt: str
    tokenizer: str
    truncation_side: Literal["left", "right"]
    special_ids: frozenset[int]
    splits_special_tokens: bool = False
    pools_prompt: bool
    pad_id: int
    pad_type_id: int
    wants_type_ids: bool
    packs: bool = False
    first_position: int = 0
    uncounted_id: int | None = None
    kind: ModelKind = ModelKind.DENSE
    activation: str = "identity"
    alone_beyond: int = UNLIMITED_TOKENS

    def info(self, int8_scale: float) -> ModelInfo:
        """What callers may know of the model."""
        return ModelInfo(
            dimensions=self.dimensions,
            max_tokens=self.max_tokens,
            similarity=self.similarity,
            prompts=self.prompts,
            default_prompt=self.default_prompt,
            int8_scale=int8_scale,
            kind=self.kind,
            activation=self.activation,
        )


def rules_of(model: Any, info: ModelInfo, *, role_tokens: Mapping[str, int], pools_prompt: bool) -> Rules:
    """The rules of a loaded model of sentence-transformers whose first module is a transformer with a fast tokenizer.

    Args:
        model: the model.
        info: what callers may know of it.
        role_tokens: the most tokens that are read of a text of each role, "" for none.
        pools_prompt: whether the pooling reads the prompt's tokens.
    """
    tokenizer = model[0].tokenizer
    most = max(role_tokens.values())
    return Rules(
        dimensions=info.dimensions,
        max_tokens=most,
        role_tokens={role: tokens for role, tokens in role_tokens.items() if tokens < most},
        similarity=info.similarity,
        prompts=dict(info.prompts),
        default_prompt=info.default_prompt,
        tokenizer=tokenizer.backend_tokenizer.to_str(),
        truncation_side=tokenizer.truncation_side,
        special_ids=frozenset(tokenizer.all_special_ids),
        splits_special_tokens=bool(tokenizer.split_special_tokens),
        pools_prompt=pools_prompt,
        pad_id=tokenizer.pad_token_id or 0,
        pad_type_id=tokenizer.pad_token_type_id,
        wants_type_ids="token_type_ids" in tokenizer.model_input_names,
        kind=info.kind,
        activation=info.activation,
    )


def info_of(model: Any, int8_scale: float) -> ModelInfo:
    """What callers may know of a loaded `SentenceTransformer`."""
    limit = model.max_seq_length
    return ModelInfo(
        dimensions=model.get_embedding_dimension(),
        max_tokens=int(min(limit or UNLIMITED_TOKENS, UNLIMITED_TOKENS)),
        similarity=str(model.similarity_fn_name),
        prompts={name: prompt or "" for name, prompt in model.prompts.items()},
        default_prompt=model.default_prompt_name or "",
        int8_scale=int8_scale,
    )
