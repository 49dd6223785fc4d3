"""`munjang train`: the trainer's commands. What they do is in the modules of `munjang_trainer.commands`."""

from __future__ import annotations

from munjang_trainer.cli import run

if __name__ == "__main__":
    run()
