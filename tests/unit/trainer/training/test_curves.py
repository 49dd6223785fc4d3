from __future__ import annotations

import json

from munjang_trainer.plots import draw_curves
from munjang_trainer.training.callbacks import read_journal


def test_a_run_of_two_stages_that_was_never_evaluated_is_drawn_without_a_warning(tmp_path):
    journal = tmp_path / "journal.jsonl"
    entries = [{"stage": stage, "step": step, "loss": 1.0} for stage in ("대조", "점수") for step in (1, 2)]
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")

    draw_curves(read_journal(journal), tmp_path / "curves.png")

    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
