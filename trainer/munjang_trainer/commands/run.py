"""`munjang train run`: prepare, train, evaluate, gate and publish in one go."""

from __future__ import annotations

from munjang_trainer.commands.publish import Force, Promote, RegistryUrl, publish_and_say
from munjang_trainer.commands.train import Data, Output, RecipeName, Set, train_recipe


def run(
    recipe: RecipeName,
    *,
    output: Output = None,
    data: Data = "",
    set_: Set = None,
    promote: Promote = False,
    force: Force = False,
    registry: RegistryUrl = "",
) -> None:
    """Make a model from a recipe and publish it: data, training, evaluation, gate, registry.

    Stopped or killed, the same command goes on where it was.

    Example:
      munjang train run starter-ko --data ../shared/data --promote
    """
    from munjang_trainer.training.world import is_first  # noqa: PLC0415 - torch is slow to import; --help must not pay

    folder = train_recipe(recipe, output, data, set_ or [])
    if is_first():
        publish_and_say(folder, registry, promote=promote, force=force)
