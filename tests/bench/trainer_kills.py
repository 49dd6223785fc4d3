"""The drill of killed trainings and publishers, at any length: python tests/bench/trainer_kills.py --kills 20."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "trainer"))

from drill import kill_publishers, kill_trainings
from forge import Forge
from recipes import recipe, write_recipe


def main() -> None:
    """Kill, resume, compare; prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of trainings, and as many of publishers")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, Forge(Path(temporary) / "forge.log") as forge:
        folder = Path(temporary)
        path = write_recipe(folder, recipe())
        finished = kill_trainings(forge, path, folder, options.kills, options.seed)
        print(f"{options.kills} trainings killed; {finished} resumed to the end, each with the very same weights")
        versions = kill_publishers(forge, folder / "whole", str(folder / "registry"), options.kills, options.seed)
        print(f"{options.kills} publishers killed; no half version was seen; {len(versions)} stand in the end")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
