from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from recipes import recipe, stage
from safetensors import safe_open
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from munjang_trainer.starter.adapter import merge_adapter, read_metrics
from munjang_trainer.training.callbacks import read_journal
from munjang_trainer.training.checkpoints import complete_checkpoints
from munjang_trainer.training.run import read_record

CONTRASTIVE = {"nli": {"loss": "mnrl"}}


@pytest.fixture
def train(forge, workshop):
    """Train a recipe with changes in a run of that name; returns the run's folder."""

    def start(name, wait=True, **changes):
        path = workshop / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe(name=name, **changes), allow_unicode=True), encoding="utf-8")
        run = workshop / "runs" / name
        arguments = ["train", str(path), "--data", str(workshop), "--output", str(run)]
        if not wait:
            return run, forge.start(*arguments)
        assert forge.run(*arguments) == 0, (workshop / "forge.log").read_text(encoding="utf-8")[-3000:]
        return run

    return start


def shape(run, part):
    with safe_open(run / part / "model.safetensors", "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict


def weights(run, part):
    return load_file(run / part / "model.safetensors")


def distance(first, second):
    return math.sqrt(sum(float(((first[name] - second[name]) ** 2).sum()) for name in first))


def losses(run):
    return [entry["loss"] for entry in read_journal(run / "journal.jsonl") if "loss" in entry]


def test_a_run_leaves_model_record_journal_curves_and_events(train):
    run = train("whole")
    record = read_record(run)
    assert [(done.name, done.steps, done.kept_step) for done in record.stages] == [
        ("contrastive", 20, 20),
        ("scored", 20, 20),
    ]
    assert record.metrics["dev.cosine_spearman"] > 0.3
    assert "groups-held-out.ndcg@10" in record.metrics
    assert record.libraries["torch"]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "tensorboard" / "scored").glob("events.*"))
    evaluated = [entry for entry in read_journal(run / "journal.jsonl") if "eval_dev.cosine_spearman" in entry]
    assert [(entry["stage"], entry["step"]) for entry in evaluated] == [
        ("contrastive", 10),
        ("contrastive", 20),
        ("scored", 10),
        ("scored", 20),
    ]


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(train):
    first, second, other = (train(name, seed=seed) for name, seed in (("one", 1), ("again", 1), ("other", 2)))
    assert losses(first) == losses(second)
    assert losses(first)[0] != losses(other)[0]
    assert read_record(first).data_fingerprint == read_record(second).data_fingerprint


def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(train, forge, workshop):
    long = [stage("scored", steps=400, sts={"loss": "cosent"}) | {"save_every": 100, "evaluate_every": 200}]
    run, pid = train("stopped", wait=False, stages=long)
    journal = run / "journal.jsonl"
    while not (journal.is_file() and '"step": 5,' in journal.read_text(encoding="utf-8")):
        os.sched_yield()
    os.kill(pid, signal.SIGTERM)
    assert forge.wait() == 128 + signal.SIGTERM
    (checkpoint,) = complete_checkpoints(run / "stages" / "scored")
    assert 5 <= int(checkpoint.name.removeprefix("checkpoint-")) < 100
    assert not (run / "model").exists()
    assert train("stopped", stages=long) == run
    assert read_record(run).stages[0].steps == 400
    steps = [entry["step"] for entry in read_journal(journal) if "loss" in entry]
    assert steps == sorted(set(steps))


def test_a_folder_belongs_to_one_recipe(train, forge, workshop):
    train("mine")
    path = workshop / "mine.yaml"
    arguments = ["train", str(path), "--data", str(workshop), "--output", str(workshop / "runs" / "mine")]
    assert forge.run(*arguments) == 0
    assert forge.run(*arguments, "--set", "seed=7") == 1
    assert "belongs to a run with other values" in (workshop / "forge.log").read_text(encoding="utf-8")


def test_the_best_weights_are_kept_and_training_stops_early(train):
    greedy = stage("greedy", steps=200, sts={"loss": "cosent"})
    greedy |= {"learning_rate": 0.5, "schedule": "constant", "warmup": 0, "max_grad_norm": 1e9}
    greedy |= {"evaluate_every": 5, "keep": "best", "watch": "dev.cosine_spearman", "patience": 2}
    run = train("best", stages=[greedy])
    (done,) = read_record(run).stages
    evaluated = {
        entry["step"]: entry["eval_dev.cosine_spearman"]
        for entry in read_journal(run / "journal.jsonl")
        if "eval_dev.cosine_spearman" in entry
    }
    assert done.steps < 200
    assert done.kept_step == max(evaluated, key=evaluated.get)
    assert read_record(run).metrics["dev.cosine_spearman"] == pytest.approx(max(evaluated.values()), abs=1e-6)


def test_hard_negatives_are_mined_among_other_groups_only(train):
    mining = {"negatives": 2, "nearest": 40, "relative_margin": 0.0}
    run = train("mined", stages=[stage("one", steps=5, groups={"loss": "mnrl", "mine": mining})])
    rows = pq.read_table(run / "stages" / "one" / "mined-groups.parquet").to_pylist()
    assert set(rows[0]) == {"anchor", "positive", "negative_1", "negative_2"}
    pairs = pq.read_table(run / "data" / "groups.parquet").to_pylist()
    group_of = {row[side]: row["group"] for row in pairs for side in ("anchor", "positive")}
    for row in rows:
        assert group_of[row["anchor"]] == group_of[row["positive"]]
        assert group_of[row["negative_1"]] != group_of[row["anchor"]] != group_of[row["negative_2"]]


def test_a_student_with_fewer_layers_learns_from_its_teacher(train, forge, workshop):
    teacher = train("teacher") / "model"
    taught = {"loss": "distill", "teacher": {"base": str(teacher)}}
    shrunk = {"base": str(teacher), "shrink": {"layers": 1, "vocabulary": True}}
    run = train("student", model=shrunk, stages=[stage("distil", steps=40, nli=taught, sts=taught)])
    assert not any("layer.1." in name for name in shape(run, "model"))
    assert any("layer.1." in name for name in shape(teacher.parent, "model"))
    assert losses(run)[-1] < losses(run)[1]
    figures = read_record(run).metrics
    assert figures["dev.cosine_spearman"] > 0.8 * read_record(teacher.parent).metrics["dev.cosine_spearman"]


def test_a_student_of_another_length_goes_on_after_a_stop(train, workshop):
    teacher = train("teacher") / "model"
    taught = {"loss": "distill", "teacher": {"base": str(teacher), "metric": "mse"}}
    wide = {"base": "random", "random": {"layers": 1, "hidden": 24, "heads": 2, "vocabulary": 300}, "max_tokens": 16}
    whole = train("wide", model=wide, stages=[stage("distil", steps=20, sts=taught)])
    checkpoint = complete_checkpoints(whole / "stages" / "distil")[-2]
    again = workshop / "runs" / "wide-again"
    subprocess.run(["cp", "-r", whole, again], check=True)
    for gone in ("model", "training.json", "stages/distil/model", "stages/distil/checkpoint-20"):
        subprocess.run(["rm", "-r", again / gone], check=True)
    assert (again / "stages" / "distil" / checkpoint.name / "projection-sts.safetensors").is_file()
    (again / "recipe.yaml").write_text((whole / "recipe.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (workshop / "runs" / "wide").rename(workshop / "runs" / "wide-whole")
    again.rename(workshop / "runs" / "wide")
    resumed = train("wide", model=wide, stages=[stage("distil", steps=20, sts=taught)])
    whole = workshop / "runs" / "wide-whole"
    assert losses(resumed) == losses(whole)
    assert (resumed / "model" / "model.safetensors").read_bytes() == (
        whole / "model" / "model.safetensors"
    ).read_bytes()


def test_the_average_of_the_weights_is_what_a_stage_leaves_also_after_a_stop(train, workshop):
    averaged = [stage("scored", steps=20, sts={"loss": "cosent"}) | {"average": 0.9}]
    whole = train("average", stages=averaged)
    plain = train("plain", stages=[stage("scored", steps=20, sts={"loss": "cosent"})])
    assert losses(whole) == losses(plain)  # it follows the training, and does not change it
    start, last, left = (weights(run, part) for run, part in ((whole, "start"), (plain, "model"), (whole, "model")))
    assert 0 < distance(left, last) < distance(start, last)

    kept = weights(whole, "model")
    scored = whole / "stages" / "scored"
    for gone in (scored / "model", scored / "checkpoint-20", whole / "model"):
        shutil.rmtree(gone)
    (whole / "training.json").unlink()
    assert train("average", stages=averaged) == whole
    again = weights(whole, "model")
    assert all(np.array_equal(kept[name], again[name]) for name in kept)


def test_low_rank_training_ends_in_a_plain_model(train):
    start = recipe()["model"] | {"lora": {"rank": 4, "alpha": 8, "modules": ["query", "value"]}}
    run = train("lora", model=start, stages=[stage("one", steps=10, **CONTRASTIVE)])
    assert shape(run, "model") == shape(run, "start")
    with (
        safe_open(run / "model" / "model.safetensors", "np") as trained,
        safe_open(run / "start" / "model.safetensors", "np") as before,
    ):
        changed = {
            name
            for name in trained.keys()  # noqa: SIM118 - not a dict
            if (trained.get_tensor(name) != before.get_tensor(name)).any()
        }
    assert changed
    assert all("query" in name or "value" in name for name in changed)


def test_roles_documents_guides_and_teachers_train_and_a_resumed_run_is_measured_the_same(train):
    taught = {"teacher": {"base": "start"}}
    roles = {"anchor": "query", "positive": "document", "negative": "document"}
    sources = recipe()["data"]["sources"] | {"documents": {"kind": "documents", "of": ["groups", "sts"], "rows": 80}}
    start = recipe()["model"] | {"prompts": {"query": "질문: ", "document": "글: "}}
    parts = {
        "nli": {"loss": "margin-mse", **taught},
        "groups": {"loss": "gist", "mini_batch": 8, "roles": roles, **taught},
        "documents": {"loss": "distill-ranking", "contrast": 0.5, **taught},
    }
    stages = [
        {"name": "centred", "centre": {"share": 0.5}},
        stage("taught", steps=12, **parts) | {"mixing": "round-robin", "matryoshka": [8]},
        {"name": "merged", "merge": {"with": "base", "share": 0.5}},
    ]
    data = recipe()["data"] | {"sources": sources}
    run = train("taught-by-roles", model=start, data=data, stages=stages)
    assert [entry.steps for entry in read_record(run).stages] == [0, 12, 0]
    tuned, base, merged = (weights(run, part) for part in ("stages/taught/model", "start", "model"))
    half = {name: (tuned[name] + base[name]) / 2 for name in tuned}
    assert distance(merged, half) < 1e-4 < distance(merged, base)
    labels = pq.read_table(run / "stages" / "taught" / "material-documents.parquet")["label"][0].as_py()
    teacher = SentenceTransformer(str(run / "start"), device="cpu")
    row = pq.read_table(run / "data" / "documents.parquet").to_pylist()[0]
    expected = [
        teacher.encode(row["anchor"], prompt_name="query"),
        teacher.encode(row["positive"], prompt_name="document"),
    ]
    np.testing.assert_allclose(labels[:2], expected, atol=1e-4)


def test_what_low_rank_training_changed_fits_into_a_small_file(train, forge, tmp_path):
    start = recipe()["model"] | {"lora": {"rank": 2, "alpha": 4, "last_layers": 1}}
    run = train(
        "adapter", model=start, stages=[{"name": "centred", "centre": {}}, stage("one", steps=10, **CONTRASTIVE)]
    )
    file = tmp_path / "adapter.safetensors"
    assert forge.run("adapter", str(run), "--rank", "2", "--output", str(file)) == 0
    assert {name.rpartition(".")[2] for name in load_file(file)} == {"up", "down", "add"}
    assert all("layer.1." in name for name in load_file(file))
    shutil.copytree(run / "start", tmp_path / "merged")
    merge_adapter(tmp_path / "merged", file)
    assert distance(load_file(tmp_path / "merged" / "model.safetensors"), weights(run, "model")) < 1e-2
    assert read_metrics(file) == read_record(run).metrics


@pytest.mark.parametrize("mixing", ["proportional", "round-robin"])
def test_datasets_are_mixed_as_the_recipe_says(train, mixing):
    parts = {"nli": {"loss": "mnrl"}, "sts": {"loss": "cosine"}, "groups": {"loss": "mnrl", "symmetric": True}}
    one = stage("mixed", steps=0, **parts) | {"mixing": mixing, "save_every": 0, "evaluate_every": 0, "matryoshka": [8]}
    run = train(f"mixed-{mixing}", stages=[one])
    report = json.loads((run / "data" / "report.json").read_bytes())
    batches = [-(-source["rows"] // 16) for source in report["sources"].values()]
    expected = sum(batches) if mixing == "proportional" else 3 * min(batches)
    assert abs(read_record(run).stages[0].steps - expected) <= 2


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_mixed_precision_and_gradient_checkpointing_train_too(train, precision):
    one = stage("one", steps=6, nli={"loss": "cached-mnrl", "mini_batch": 4}) | {
        "precision": precision,
        "gradient_checkpointing": precision == "float32",
        "accumulate": 2,
    }
    run = train(f"in-{precision}", stages=[one])
    assert read_record(run).stages[0].steps == 6
    assert all(tensor for tensor in shape(run, "model").values())


def test_a_prompt_that_was_trained_with_becomes_the_default(train):
    run = train("prompted", model=recipe()["model"] | {"prompt": "query"})
    model = SentenceTransformer(str(run / "model"), device="cpu")
    assert (model.default_prompt_name, model.prompts["query"]) == ("query", "질문: ")


def test_two_processes_train_together(workshop):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path, run = workshop / "two.yaml", workshop / "runs" / "two"
    path.write_text(yaml.safe_dump(recipe(name="two"), allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    command += ["-m", "munjang_trainer", "train", str(path), "--data", str(workshop), "--output", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(stage.name, stage.steps) for stage in read_record(run).stages] == [("contrastive", 20), ("scored", 20)]
    assert done.stdout.count("trained ") == 1


def test_training_that_diverges_stops_at_once_with_the_step_and_leaves_a_journal_of_valid_json(forge, workshop):
    wild = stage("wild", nli={"loss": "mnrl"}) | {"learning_rate": 1.0e8, "max_grad_norm": 1.0e30, "log_every": 1}
    path, run = workshop / "diverged.yaml", workshop / "runs" / "diverged"
    path.write_text(yaml.safe_dump(recipe(name="diverged", stages=[wild]), allow_unicode=True), encoding="utf-8")
    assert forge.run("train", str(path), "--data", str(workshop), "--output", str(run)) == 1
    log = (workshop / "forge.log").read_text(encoding="utf-8")
    assert re.search(r"training diverged in stage 'wild' at step \d+: (the loss is|a weight is not finite)", log)
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["stage"] for line in lines if line] == ["wild"] * len(lines)
    assert not (run / "model").exists()
    assert not (run / "training.json").exists()


def test_a_folder_with_a_model_of_somebody_elses_is_refused_untouched(forge, workshop):
    mine = workshop / "mine-alone"
    (mine / "model").mkdir(parents=True)
    (mine / "model" / "precious.txt").write_text("mine", encoding="utf-8")
    path = workshop / "stranger.yaml"
    path.write_text(yaml.safe_dump(recipe(name="stranger"), allow_unicode=True), encoding="utf-8")
    assert forge.run("train", str(path), "--data", str(workshop), "--output", str(mine)) == 1
    assert "which munjang did not make" in (workshop / "forge.log").read_text(encoding="utf-8")
    assert sorted(path.name for path in mine.rglob("*")) == ["model", "precious.txt"]
