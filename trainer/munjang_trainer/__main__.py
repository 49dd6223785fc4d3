"""`munjang train`: the trainer's commands. What they do is in the modules of `trainer.commands`."""

from __future__ import annotations

from munjang_trainer.cli import run

if __name__ == "__main__":
    run()
