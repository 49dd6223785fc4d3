"""Adapters: what changes a base model into a tuned one, small enough to ship; merged into the weights before serving.

A safetensors file of float16 tensors. A matrix W of the model becomes W + up @ down, from the tensors `<name>.up`
[out, rank] and `<name>.down` [rank, in]; any other weight w becomes w + `<name>.add`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHTS = "model.safetensors"
METRICS = "metrics"
UP, DOWN, ADD = ".up", ".down", ".add"
MATRIX = 2


def extract(base: Path, tuned: Path, rank: int, target: Path, metrics: Mapping[str, float]) -> float:
    """Write the adapter that makes a tuned model of its base, and return the share of the change that it holds.

    The change of each matrix is cut to its largest singular values: nothing is lost of what LoRA of that rank trained.

    Args:
        base: a model folder.
        tuned: one of the same form.
        rank: of the changes of matrices.
        target: the file.
        metrics: of the tuned model, kept in the file.

    Raises:
        ConfigurationError: the two have not the same form, or are the same.
    """
    first, second = load_file(base / WEIGHTS), load_file(tuned / WEIGHTS)
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        msg = f"{tuned} has not the form of {base}: no adapter can make the one of the other"
        raise ConfigurationError(msg, field="adapter")
    tensors: dict[str, NDArray[np.float16]] = {}
    whole = held = 0.0
    for name, value in second.items():
        change = value.astype(np.float64) - first[name].astype(np.float64)
        size = float((change**2).sum())
        if not size:
            continue
        whole += size
        if change.ndim == MATRIX:
            left, values, right = np.linalg.svd(change, full_matrices=False)
            root = np.sqrt(values[:rank])
            tensors[f"{name}{UP}"] = np.ascontiguousarray(left[:, :rank] * root, np.float16)
            tensors[f"{name}{DOWN}"] = np.ascontiguousarray(root[:, None] * right[:rank], np.float16)
            held += float((values[:rank] ** 2).sum())
        else:
            tensors[f"{name}{ADD}"] = change.astype(np.float16)
            held += size
    if not tensors:
        msg = f"{tuned} has the weights of {base}: there is nothing to keep"
        raise ConfigurationError(msg, field="adapter")
    save_file(tensors, target, metadata={METRICS: json.dumps(dict(metrics))})
    return held / whole


def read_metrics(adapter: Path) -> dict[str, float]:
    """The metrics of the tuned model that an adapter makes."""
    with safe_open(adapter, framework="np") as file:
        found: dict[str, float] = json.loads((file.metadata() or {}).get(METRICS, "{}"))
    return found


def merge_adapter(folder: Path, adapter: Path) -> None:
    """Merge an adapter into the weights of a model folder.

    Raises:
        ConfigurationError: the adapter is for a model of another form.
    """
    weights = load_file(folder / WEIGHTS)
    with safe_open(folder / WEIGHTS, framework="np") as file:
        metadata = file.metadata()
    changes = {name: value.astype(np.float32) for name, value in load_file(adapter).items()}
    for name, change in _whole(changes).items():
        if name not in weights or weights[name].shape != change.shape:
            msg = f"{adapter} changes {name}, which this model does not have in that form"
            raise ConfigurationError(msg, field="adapter")
        weights[name] = weights[name] + change
    save_file(weights, folder / WEIGHTS, metadata=metadata)


def _whole(changes: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    whole = {name.removesuffix(ADD): value for name, value in changes.items() if name.endswith(ADD)}
    for name, up in changes.items():
        if name.endswith(UP):
            plain = name.removesuffix(UP)
            whole[plain] = up @ changes[plain + DOWN]
    return whole
