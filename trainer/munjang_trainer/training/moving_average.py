"""The moving average of a stage's weights, which is kept instead of the last ones.

Single steps of training on little data move the weights to and fro. Their average lies between and does better on
rows that were not trained on (Polyak and Juditsky, 1992; Izmailov et al., arXiv:1803.05407).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_model, save_model
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback

from munjang_trainer.training.checkpoints import PREFIX

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn
    from transformers import TrainerState, TrainingArguments


FILE = "average.safetensors"


class WeightAverage(TrainerCallback):
    """Follows the weights, and is part of each checkpoint: it must run before the one that marks it complete."""

    def __init__(self, decay: float, resumed: Path | None) -> None:
        """Set the decay per step, between 0 and 1, and the checkpoint to resume from."""
        self._decay = decay
        self._resumed = resumed
        self._average: AveragedModel | None = None

    def take(self, model: SentenceTransformer) -> None:
        """Replace the model's weights by the average."""
        source: nn.Module = self._followed().module
        model.load_state_dict(source.state_dict())

    def on_train_begin(self, _args: Any, _state: Any, _control: Any, model: SentenceTransformer, **_: Any) -> None:
        """Called when the model lies on its device, with the checkpoint's weights if there is one."""
        moving = get_ema_multi_avg_fn(self._decay)  # type: ignore[no-untyped-call] # torch's, without annotations
        self._average = AveragedModel(model, multi_avg_fn=moving)
        if self._resumed:
            load_model(self._average, self._resumed / FILE)

    def on_step_end(self, _args: Any, _state: Any, _control: Any, model: SentenceTransformer, **_: Any) -> None:
        """Called after each step, by every process alike."""
        self._followed().update_parameters(model)

    def on_save(self, args: TrainingArguments, state: TrainerState, _control: Any, **_: Any) -> None:
        """Called when a checkpoint is written."""
        if state.is_world_process_zero:
            save_model(self._followed(), str(Path(args.output_dir) / f"{PREFIX}{state.global_step}" / FILE))

    def _followed(self) -> AveragedModel:
        if self._average is None:
            msg = "training has not begun"
            raise RuntimeError(msg)
        return self._average
