"""Completes a staged folder by what its files do not say: pooling, prompts, limit. Never by a guess.

Who publishes says it (`--pooling`, `--prompts`, `--default-prompt`, `--max-tokens`), or the catalogue does for a model
of the hub. The files of a folder win over the catalogue, and the options over both. What sentence-transformers reads
from its configuration and the encoder does not is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from munjang.errors import UnsupportedModel
from munjang.publishing.catalogue import POOLINGS, Entry, like
from munjang.publishing.staging import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MODULES = "modules.json"
CONFIG = "config_sentence_transformers.json"
TYPES = "sentence_transformers.models."
"""The modules of sentence-transformers, by the names that all its versions know."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the publisher says of a model beside its files.

    Attributes:
        pooling: how the vectors of tokens become one of a text, see `POOLINGS`; empty: as the files say.
        prompts: words that belong before a text, by name; they are added to those of the files, and win over them.
        default_prompt: the name of the prompt that a text gets where none is asked for; empty: as the files say.
        max_tokens: the most tokens of a text; 0: as the files say.
    """

    pooling: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    max_tokens: int = 0


def complete(
    stage: Path,
    name: str,
    options: Options,
    entry: Entry | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Write into a staged folder of a dense model what its files lack.

    Args:
        stage: the staged folder.
        name: what to call the model.
        options: what the publisher says.
        entry: the model in the catalogue, where it is known to be this one.
        tell: told in a sentence what was filled in.

    Raises:
        UnsupportedModel: its pooling is said nowhere, or twice; or it has a setting that the encoder does not follow.
    """
    plain = _is_plain(stage)
    if plain:
        if not (_first(stage) / "config.json").is_file():
            msg = f"{name} is no model folder: in it is neither {MODULES} (sentence-transformers) nor config.json"
            raise UnsupportedModel(msg)
        _write_modules(stage, _pooling(name, options, entry, tell))
    elif options.pooling:
        msg = (
            f"{name} says its pooling itself, in {MODULES}: leave --pooling out, or publish a folder without that file"
        )
        raise UnsupportedModel(msg)
    _write_limit(stage, options.max_tokens or (plain and entry and entry.max_tokens) or 0)
    _write_prompts(stage, name, options, entry, tell)
    _check_truncation(stage)
    _check_expansion(stage)
    _check_activations(stage)


def complete_cross_encoder(stage: Path, name: str, options: Options) -> None:
    """Write the limit that the options name into a staged folder of a cross-encoder; it says all else itself.

    Raises:
        UnsupportedModel: the options name a pooling or prompts.
    """
    if options.pooling or options.prompts or options.default_prompt:
        msg = f"{name} is a cross-encoder: leave out --pooling, --prompts and --default-prompt, which dense models have"
        raise UnsupportedModel(msg, field="pooling" if options.pooling else "prompts")
    _write_limit(stage, options.max_tokens)


def _is_plain(stage: Path) -> bool:
    """Whether nothing in the folder makes one vector of a text: no modules, or a transformer alone."""
    modules = read_json(stage / MODULES)
    if modules is None:
        return True
    return isinstance(modules, list) and len(modules) == 1 and _type(modules[0]) == "Transformer"


def _pooling(name: str, options: Options, entry: Entry | None, tell: Callable[[str], None]) -> str:
    if options.pooling:
        if options.pooling not in POOLINGS:
            msg = f"there is no pooling {options.pooling!r}: choose one of {', '.join(POOLINGS)}"
            raise UnsupportedModel(msg, field="pooling")
        return options.pooling
    if entry and entry.pooling:
        tell(f"pooling {entry.pooling}, from the catalogue")
        return entry.pooling
    known = [f"{found.name}: {found.options()}" for found in like(name) if found.pooling]
    hint = f". The catalogue has {'; '.join(known)}" if known else ""
    msg = (
        f"{name} has no pooling: no {MODULES} in it says how the vectors of its tokens become one of a text. Name the "
        f"pooling that it was trained with (its model card says it): munjang versions publish {name} --pooling ..., "
        f"one of {', '.join(POOLINGS)}{hint}"
    )
    raise UnsupportedModel(msg, field="pooling")


def _write_modules(stage: Path, pooling: str) -> None:
    from transformers import AutoConfig  # noqa: PLC0415 - heavy, and only a plain folder needs it

    modules = read_json(stage / MODULES) or [{"idx": 0, "name": "0", "path": "", "type": f"{TYPES}Transformer"}]
    where = stage / str(modules[0].get("path", ""))
    try:
        config = AutoConfig.from_pretrained(str(where), local_files_only=True, trust_remote_code=False)
        dimensions = int(config.get_text_config().hidden_size)
    except Exception as error:
        msg = f"config.json does not say what transformer this is, or how wide its vectors are: {error}"
        raise UnsupportedModel(msg) from error
    taken = str(modules[0].get("path", ""))
    folder = "1_Pooling" if taken != "1_Pooling" else "2_Pooling"
    modules.append({"idx": 1, "name": "1", "path": folder, "type": f"{TYPES}Pooling"})
    write_json(stage / MODULES, modules)
    content = {"embedding_dimension": dimensions, "pooling_mode": pooling, "include_prompt": True}
    write_json(stage / folder / "config.json", content)


def _write_limit(stage: Path, limit: int) -> None:
    if limit:
        path = _first(stage) / "sentence_bert_config.json"
        write_json(path, (read_json(path) or {}) | {"max_seq_length": limit})


def _write_prompts(stage: Path, name: str, options: Options, entry: Entry | None, tell: Callable[[str], None]) -> None:
    content = read_json(stage / CONFIG) or {}
    prompts = {key: text for key, text in (content.get("prompts") or {}).items() if text is not None}
    default = options.default_prompt or content.get("default_prompt_name") or ""
    if entry and entry.prompts and not options.prompts and not any(prompts.values()):
        prompts |= entry.prompts
        default = default or entry.default_prompt
        if any(entry.prompts.values()):
            tell(f"prompts from the catalogue: {', '.join(f'{key} {text!r}' for key, text in entry.prompts.items())}")
    prompts |= options.prompts
    if default and default not in {*prompts, "query", "document"}:
        msg = f"{name} has no prompt {default!r} to be the default: it has {', '.join(prompts) or 'none'}"
        raise UnsupportedModel(msg, field="default_prompt")
    if prompts or default:
        write_json(stage / CONFIG, content | {"prompts": prompts, "default_prompt_name": default or None})


def _check_truncation(stage: Path) -> None:
    length = (read_json(stage / CONFIG) or {}).get("truncate_dim")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
        msg = f"{CONFIG} has the truncate_dim {length!r}, which is not a number of dimensions"
        raise UnsupportedModel(msg)


def _check_expansion(stage: Path) -> None:
    for path in sorted(_first(stage).glob("sentence_*_config.json")):
        content = read_json(path)
        if isinstance(content, dict) and content.get("query_expansion"):
            msg = (
                f"{path.relative_to(stage).as_posix()} sets query_expansion, which fills queries up with mask tokens "
                "and is not followed here: remove it if the vectors are right without it"
            )
            raise UnsupportedModel(msg)


def _check_activations(stage: Path) -> None:
    """Refuse what sentence-transformers replaces by its default with a warning: an activation that is not torch's."""
    for path in sorted(stage.glob("*/config.json")):
        content = read_json(path)
        named = content.get("activation_function") if isinstance(content, dict) and "in_features" in content else None
        if named is not None and not str(named).startswith("torch."):
            msg = (
                f"{path.relative_to(stage).as_posix()} names the activation {named!r}: only those of torch are run, "
                f"and another one gives other vectors. Save the module with one of torch.nn"
            )
            raise UnsupportedModel(msg)


def _first(stage: Path) -> Path:
    """Where the first module lies."""
    modules = read_json(stage / MODULES)
    return stage / str(modules[0].get("path", "")) if isinstance(modules, list) and modules else stage


def _type(module: Any) -> str:
    return str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
