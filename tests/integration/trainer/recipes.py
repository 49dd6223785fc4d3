"""A small recipe with data of its own, for tests that train."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

WHO = ("남자", "여자", "아이", "노인", "고양이", "의사", "학생", "가수")
WHERE = ("공원에서", "집에서", "무대에서", "학교에서", "바다에서", "시장에서")
WHAT = ("노래한다", "달린다", "잔다", "웃는다", "운다", "춤춘다", "걷는다", "먹는다", "쉰다", "일한다")


def write_data(folder: Path, seed: int = 1) -> None:
    """Scored pairs, inference pairs and paraphrase groups in which like sentences share words."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    sentences = [f"{who}가 {where} {what}." for who in WHO for where in WHERE for what in WHAT]
    draw.shuffle(sentences)
    train, dev = sentences[:360], sentences[360:]
    for name, known in (("train", train), ("dev", dev)):
        rows = [(draw.choice(known), draw.choice(known)) for _ in range(300)]
        lines = [f"{5 * _alike(a, b):.3f}\t{a}\t{b}" for a, b in rows]
        (folder / f"{name}.tsv").write_text("score\tsentence1\tsentence2\n" + "\n".join(lines) + "\n", "utf-8")
    nli = []
    for sentence in train[:120]:
        who, where, what = sentence.rstrip(".").split(" ")
        nli.append(f"{sentence}\t{who} {what}.\tentailment")
        nli.append(f"{sentence}\t{who} {where} 사라졌다.\tcontradiction")
    (folder / "nli.tsv").write_text("sentence1\tsentence2\tgold_label\n" + "\n".join(nli) + "\n", "utf-8")
    groups = [
        f"0\t0\t{sentence[:-1]}{ending}" for sentence in train[120:180] for ending in ("요.", "네.", "지.", "다?")
    ]
    (folder / "groups.txt").write_text("\n".join(groups) + "\n", "utf-8")


def recipe(**changes: Any) -> dict[str, Any]:
    """A recipe on that data: two stages of a random model, seconds on one core."""
    content: dict[str, Any] = {
        "name": "small",
        "threads": 1,
        "model": {
            "base": "random",
            "max_tokens": 16,
            "prompts": {"query": "질문: "},
            "random": {"layers": 2, "hidden": 16, "heads": 2, "feed_forward": 32, "vocabulary": 300},
        },
        "data": {
            "sources": {
                "nli": {"kind": "nli", "files": ["nli.tsv"]},
                "sts": {"kind": "sts", "files": ["train.tsv"]},
                "groups": {"kind": "groups", "files": ["groups.txt"], "group_size": 4, "hold_out": {"fraction": 0.2}},
            },
            "evaluation": {"dev": {"source": {"kind": "sts", "files": ["dev.tsv"]}}},
            "leaks": "drop",
        },
        "stages": [
            stage("contrastive", nli={"loss": "mnrl"}, groups={"loss": "cached-mnrl", "mini_batch": 8}),
            stage("scored", sts={"loss": "cosent"}),
        ],
        "evaluation": {"during_training": ["dev"], "resamples": 100},
    }
    return content | changes


def stage(name: str, /, steps: int = 20, **datasets: Any) -> dict[str, Any]:
    """A short stage that saves and evaluates often."""
    return {
        "name": name,
        "datasets": datasets,
        "steps": steps,
        "batch_size": 16,
        "learning_rate": 1.0e-3,
        "log_every": 5,
        "save_every": 5,
        "evaluate_every": 10,
    }


def write_recipe(folder: Path, content: dict[str, Any]) -> Path:
    """Write data and recipe; returns the recipe's path."""
    write_data(folder)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def _alike(first: str, second: str) -> float:
    return len(set(first.split()) & set(second.split())) / 3
