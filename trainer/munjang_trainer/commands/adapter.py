"""`munjang train adapter`: what a run changed in its base model, as a small file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer needs the type at run time
from typing import Annotated

import typer
from rich.console import Console


def adapter(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    *,
    output: Annotated[
        Path | None, typer.Option(help="The file to write. Default: adapter.safetensors in the run.")
    ] = None,
    rank: Annotated[int, typer.Option(help="Of the change of each matrix: that of model.lora.", min=1)] = 16,
) -> None:
    """Write what training changed as a small safetensors file of float16, such as the one that ships with munjang.

    Example:
      munjang train adapter runs/starter-adapter --rank 16
    """
    from munjang_trainer.output_files import MODEL  # noqa: PLC0415 - --help must not pay for what the command needs
    from munjang_trainer.starter.adapter import extract  # noqa: PLC0415 - the same
    from munjang_trainer.training.run import read_record  # noqa: PLC0415 - the same
    from munjang_trainer.training.stage import START  # noqa: PLC0415 - the same

    record = read_record(run)
    target = output or run / "adapter.safetensors"
    held = extract(run / START, run / MODEL, rank, target, record.metrics)
    size = target.stat().st_size / 1e6
    Console().print(f"{target}: {size:.2f} MB, {held:.2%} of the change", highlight=False, soft_wrap=True)
