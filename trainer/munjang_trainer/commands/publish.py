"""`munjang train publish`: a finished run through the gate into the registry."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer needs the type at run time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from munjang_trainer.commands.options import settings_with
from munjang_trainer.commands.train import quieten

if TYPE_CHECKING:
    from munjang_trainer.gate.publish import Published

Promote = Annotated[bool, typer.Option("--promote", help="Let the recipe's alias (stable) name the version.")]
Force = Annotated[bool, typer.Option("--force", help="Publish even what the gate refuses. Its manifest says so.")]
RegistryUrl = Annotated[str, typer.Option(help="The registry, a folder or URL. Default: MUNJANG_REGISTRY.")]


def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    *,
    promote: Promote = False,
    force: Force = False,
    registry: RegistryUrl = "",
) -> None:
    """Publish a trained model if the gate lets it pass; refused, exit status 1 and the reasons.

    The saved model is loaded in a fresh process and must have the figures that it had in training, no value that is not
    finite, only safetensors, the dimensions of the version that serves, and no figure below that version's by more than
    the recipe's margin (by the bootstrap interval of the difference, so that noise refuses nothing).

    Example:
      munjang train publish runs/starter-ko --promote
    """
    publish_and_say(run, registry, promote=promote, force=force)


def publish_and_say(run: Path, registry: str, *, promote: bool, force: bool) -> None:
    """Publish a run and print what came of it."""
    from munjang_trainer.gate.publish import publish_run  # noqa: PLC0415 - model libraries are slow to import

    console = Console()
    quieten()
    settings = settings_with(registry=registry)
    with console.status("gate") as status:
        published = publish_run(run, settings, promote=promote, force=force, tell=status.update)
    _say(console, published)


def _say(console: Console, published: Published) -> None:
    from munjang_trainer.evaluation.show import show_comparison  # noqa: PLC0415 - numpy and more

    for reason in published.verdict.reasons:
        console.print(f"[yellow]the gate refused, overruled by --force[/]: {reason}", highlight=False, soft_wrap=True)
    if published.verdict.comparison:
        show_comparison(console, published.verdict.comparison)
    what = "published" if published.new else "was published before"
    alias = f"; {published.promoted} names it now" if published.promoted else ""
    console.print(f"version {published.version} {what}{alias}", highlight=False)
