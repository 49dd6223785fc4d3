"""How a model folder is opened, whatever kind it is: as data. No code of its own, no pickles, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from munjang.errors import ModelLoadFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch


def open_folder(kind: Callable[..., Any], name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The folder as a model of a class of sentence-transformers, ready to infer; messages call it by `name`.

    Raises:
        ModelLoadFailed: it cannot be loaded.
    """
    try:
        return kind(
            str(folder),
            device=str(device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        ).eval()
    except Exception as error:
        msg = f"the {name} cannot be loaded: {error}"
        raise ModelLoadFailed(msg) from error
