"""Whether the weights of a folder are those of its model: no parameter that vectors depend on may be made up.

transformers fills in at random what the files lack, and says so in its log only. A head that a checkpoint never had,
and that no vector depends on (BERT's pooler), may be filled in; anything else means that the files hold another model,
or the same one under other names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from munjang.errors import ModelLoadFailed
from munjang.korean import SENTENCES
from munjang.publishing.kind import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SAME = 0.9999
"""The least cosine between vectors that do not depend on what was filled in; rounding may (an attention's key bias)."""

SHOWN = 3
"""Names of parameters that a refusal shows."""


def check_weights(folder: Path) -> None:
    """Refuse a folder whose vectors or scores depend on parameters that its files do not hold.

    Raises:
        ModelLoadFailed: they do, or the model cannot be loaded.
    """
    import torch  # noqa: PLC0415 - heavy, and only publishers need it

    if next(folder.rglob("*.safetensors"), None) is None:
        msg = "there are no weights in the folder: no model.safetensors, nor parts of it (an unfinished download?)"
        raise ModelLoadFailed(msg)
    from munjang.encoder.torch_runtime.load import load_model  # noqa: PLC0415 - the same
    from munjang.encoder.torch_runtime.pipeline import agreement  # noqa: PLC0415 - the same

    model = load_model(folder, torch.device("cpu"), torch.float32, kind_of(folder))
    missing = dict(_made_up(model))
    if not missing:
        return
    try:
        first, second = (_vectors(model, missing.values(), seed) for seed in (1, 2))
    except (RuntimeError, IndexError, ValueError, KeyError):  # describing the model says what is wrong with it
        return
    if agreement(first, second) >= SAME:
        return
    names = ", ".join(list(missing)[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
    held = list(_held(folder))
    files = ", ".join(dict.fromkeys(file for file, _ in held)) or "no *.safetensors file"
    examples = ", ".join(name for _, name in held[:SHOWN])
    msg = (
        f"the weights do not hold all of the model: {names} would be made up at random. {files} names its tensors "
        f"otherwise ({examples}), or belongs to another config.json: load the model in the program that made it, and "
        f"save it with save_pretrained"
    )
    raise ModelLoadFailed(msg)


def _vectors(model: Any, parameters: Iterable[Any], seed: int) -> Any:
    """Vectors of a few texts, or scores [pairs, 1], with parameters filled at random from a seed."""
    import torch  # noqa: PLC0415 - heavy
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - heavy

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(generator=generator)
    if isinstance(model, CrossEncoder):
        pairs = list(zip(SENTENCES[:4], SENTENCES[4:8], strict=True))
        raw = {"activation_fn": torch.nn.Identity(), "convert_to_tensor": True, "show_progress_bar": False}
        return model.predict(pairs, **raw).reshape(-1, 1)
    return model.encode(list(SENTENCES[:4]), convert_to_tensor=True, show_progress_bar=False)


def _made_up(model: Any) -> Iterator[tuple[str, Any]]:
    """The parameters of the transformers of a `SentenceTransformer` that were in no file, by name."""
    from sentence_transformers.sentence_transformer.modules import Transformer  # noqa: PLC0415 - heavy

    for module in model.modules():
        if isinstance(module, Transformer):
            for name, parameter in module.model.named_parameters():
                if not getattr(parameter, "_is_hf_initialized", False):
                    yield name, parameter


def _held(folder: Path) -> Iterator[tuple[str, str]]:
    """The tensors of the folder, each with its file."""
    from safetensors import safe_open  # noqa: PLC0415 - heavy

    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict, it has keys() only
                yield path.relative_to(folder).as_posix(), name
