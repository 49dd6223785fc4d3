"""What a loaded model can read: how many tokens of a text, and which ids. Checked at every load from a folder.

An index beyond a table is an error in torch on a CPU, ends the process on a GPU, and gives a vector of zeros in
OpenVINO. So no encoder and no export is made from a model whose tokenizer can give such an index.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer.modules import StaticEmbedding, Transformer
from torch.nn import Embedding

from munjang.encoder.model_rules import UNLIMITED_TOKENS
from munjang.errors import ModelLoadFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DEFAULT_LIMIT = 512
"""Tokens that a transformer reads of a text where nothing names a limit."""

LIMITS = (("sentence_*_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length"))
"""Files of a transformer, and what they call its limit."""

DOCUMENTED = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")
"""What config.json calls the longest text of a model that has no table of positions."""

POSITIONS = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
"""What architectures call their table of positions."""


def stated_limits(folder: Path) -> dict[str, int]:
    """The limits that the files of the folder's first module name; infinite and senseless ones are none.

    Raises:
        ModelLoadFailed: a limit is no number.
    """
    path = folder / _first_path(folder)
    found = {}
    for pattern, name in LIMITS:
        for file in sorted(path.glob(pattern)):
            content = _json(file)
            value = content.get(name) if isinstance(content, dict) else None
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                msg = f"{file.relative_to(folder)} has the {name} {value!r}, which is not a number of tokens"
                raise ModelLoadFailed(msg)
            if _is_limit(value):
                found[f"{file.relative_to(folder)} {name}"] = int(value)
    return found


def role_tokens(module: Any) -> dict[str, int]:
    """The most tokens that a transformer reads of a text of each role, "" for none, as sentence-transformers has it."""
    fixed = module.processing_kwargs.get("text", {}).get("max_length")
    lengths = {"": None, "query": module.query_length, "document": module.document_length}
    return {role: int(fixed or length or module.max_seq_length) for role, length in lengths.items()}


def settle_limits(model: Any, stated: Mapping[str, int]) -> dict[str, int]:
    """Let each transformer of the model read as many tokens as the least of its limits, and give those of the first.

    A limit for a role takes the place of those that the files name, but not of the positions.

    Args:
        model: a `SentenceTransformer`.
        stated: what the files of its first module say; see `stated_limits`.

    Raises:
        ModelLoadFailed: a limit leaves no room for a word.
    """
    limits: dict[str, int] = {}
    for module in _transformers(model):
        named = dict(stated) if module is model[0] else {}
        if not named and _is_limit(module.max_seq_length):
            named["max_seq_length"] = int(module.max_seq_length)
        positions = _positions(module)
        named |= positions
        special = len(module.tokenizer("")["input_ids"])
        module.max_seq_length = _least(named or {"the limit": DEFAULT_LIMIT}, special)
        for name in ("query_length", "document_length"):
            if length := getattr(module, name):
                setattr(module, name, _least(positions | {name: length}, special))
        given = module.processing_kwargs.get("text", {})
        if length := given.get("max_length"):
            given["max_length"] = _least(positions | {"max_length of processing_kwargs": length}, special)
        limits = limits or named
    return limits


def _least(named: Mapping[str, int], special: int) -> int:
    """The least of some limits, which must have room for more than the special tokens."""
    where = min(named, key=named.__getitem__)
    if named[where] <= special:
        msg = (
            f"{where} is {named[where]}, and the tokenizer adds {special} tokens to each text: there is no room for "
            "text"
        )
        raise ModelLoadFailed(msg)
    return named[where]


def check_ids(model: Any) -> None:
    """Hold each id that a tokenizer of the model can give against the tables that it is looked up in.

    Raises:
        ModelLoadFailed: one is beyond its table.
    """
    for module in model.modules():
        if isinstance(module, StaticEmbedding):
            _check_vocabulary(module.tokenizer.get_vocab(), module.embedding.num_embeddings)
    for module in _transformers(model):
        _check_transformer(module)


def _check_transformer(module: Any) -> None:
    tokenizer = module.tokenizer
    try:
        table = module.model.get_input_embeddings()
    except NotImplementedError:  # a model that computes embeddings from characters
        table = None
    given = tokenizer("가 a", return_token_type_ids=True)
    if isinstance(table, Embedding):
        added = {f"special token {number}": number for number in (*given["input_ids"], tokenizer.pad_token_id or 0)}
        _check_vocabulary(tokenizer.get_vocab() | added, table.num_embeddings)
    if kinds := _table(module, ("token_type_embeddings",)):
        kind = max(*given["token_type_ids"], tokenizer.pad_token_type_id)
        if "token_type_ids" in tokenizer.model_input_names and kind >= kinds.num_embeddings:
            msg = (
                f"tokenizer.json gives the token type {kind}, and config.json has a type_vocab_size of "
                f"{kinds.num_embeddings}"
            )
            raise ModelLoadFailed(msg)


def _check_vocabulary(vocabulary: Mapping[str, int], rows: int) -> None:
    token, number = max(vocabulary.items(), key=lambda item: item[1])
    if number >= rows:
        msg = (
            f"tokenizer.json gives the token {token!r} the id {number}, and the table of embeddings in the weights has "
            f"{rows} rows: call model.resize_token_embeddings(len(tokenizer)), train the new rows and save it again"
        )
        raise ModelLoadFailed(msg)


def _positions(module: Any) -> dict[str, int]:
    """The tokens that the model has positions for, or that its configuration names where it has no table of them."""
    config = module.model.config.get_text_config()
    named = {f"config.json {name}": getattr(config, name, None) for name in DOCUMENTED}
    table = _table(module, POSITIONS)
    if table is not None:
        named = {"positions in the weights": table.num_embeddings - _first_position(module, table)}
    return {name: int(value) for name, value in named.items() if value is not None and _is_limit(value)}


def _first_position(module: Any, table: Any) -> int:
    """The row of a text's first token: RoBERTa and its kin begin behind the padding's, OPT and BART at a third one."""
    owners = (owner for owner in module.model.modules() if table in owner.children())
    padding = next((getattr(owner, "padding_idx", None) for owner in owners), None)
    offset: int = getattr(table, "offset", 0 if padding is None else padding + 1)
    return offset


def _table(module: Any, names: tuple[str, ...]) -> Any:
    """The first table of the model that has one of these names; None if there is none."""
    tables = (
        table
        for name, table in module.model.named_modules()
        if name.rpartition(".")[2] in names and isinstance(table, Embedding)
    )
    return next(tables, None)


def _transformers(model: Any) -> Iterator[Any]:
    """The transformers of a model that read text; a router has several."""
    for module in model.modules():
        if isinstance(module, Transformer) and module.tokenizer is not None:
            yield module


def _is_limit(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < UNLIMITED_TOKENS


def _first_path(folder: Path) -> str:
    """Where the first module lies in the folder."""
    modules = _json(folder / "modules.json")
    return str(modules[0].get("path", "")) if isinstance(modules, list) and modules else ""


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):  # loading will say what is wrong with it
        return None
