"""A tiny recipe from data to a served version; a worse one is refused, forced in, and rolled back under calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from munjang.client import Client, RetryPolicy
from munjang.registry import Registry

pytestmark = pytest.mark.timeout(900)  # trained, published and converted several times, on a slow machine too

SECONDS = 240


RECIPE = Path(__file__).with_name("tiny_korean.yaml")
GUIDE = Path(__file__).parents[2] / "docs" / "training.md"
TRAINER = [sys.executable, "-m", "munjang_trainer"]
MUNJANG = [sys.executable, "-c", "from munjang.cli.main import run; run()"]


def program(start, *arguments, **options):
    command = [*start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, **options)


class Caller(threading.Thread):
    """Calls on and on until told to stop; keeps the version of every reply, and every error.

    It pauses for a moment after each call, which leaves the machine to what the calls go on beside.
    """

    def __init__(self, target):
        super().__init__()
        self._target = target
        self._done = threading.Event()
        self._seen = threading.Condition()
        self.versions = []
        self.errors = []

    def run(self):
        with Client(self._target, retry=RetryPolicy(attempts=1)) as client:
            while not self._done.is_set():
                try:
                    version = client.encode(["남자가 드럼을 치고 있다."]).version
                except Exception as error:  # noqa: BLE001 - the test shows whatever it was
                    self.errors.append(error)
                    continue
                with self._seen:
                    self.versions.append(version)
                    self._seen.notify_all()
                self._done.wait(0.02)

    def wait_for(self, version):
        with self._seen:
            assert self._seen.wait_for(lambda: self.versions and self.versions[-1] == version, SECONDS)

    def finish(self):
        self._done.set()
        self.join(30)
        assert not self.is_alive()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("trainer")


@pytest.fixture(scope="module")
def first(place, shared_data):
    """The tiny recipe, run from data to the alias."""
    command = ["run", RECIPE, "--data", shared_data, "--output", place / "first", "--registry", place / "registry"]
    done = program(TRAINER, *command, "--promote")
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert "version 1 published; stable names it now" in done.stdout
    return Registry(str(place / "registry"))


@pytest.fixture(scope="module")
def worse(place, shared_data, first):
    """A run of the same recipe on scores that are turned round; its publishing was refused."""
    lines = (shared_data / "korsts" / "sts-train.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    turned = ["\t".join([*row[:4], f"{5 - float(row[4]):.3f}", *row[5:]]) for row in rows]
    (place / "turned.tsv").write_text("\n".join([lines[0], *turned]) + "\n", encoding="utf-8")
    overrides = [f"data.sources.sts.files=[{place / 'turned.tsv'}]", "stages.0.steps=1", "stages.1.learning_rate=0.01"]
    overrides += ["stages.1.steps=40", "stages.1.evaluate_every=0", "stages.1.save_every=0"]
    options = [part for override in overrides for part in ("--set", override)]
    command = ["run", RECIPE, "--data", shared_data, "--output", place / "worse", "--registry", place / "registry"]
    done = program(TRAINER, *command, *options, "--promote")
    assert done.returncode == 1, done.stdout
    assert "the gate refuses this model" in done.stderr
    assert "korsts-dev.cosine_spearman is" in done.stderr
    assert "lies wholly below the margin" in done.stderr
    return place / "worse"


def test_a_recipe_ends_as_a_version_that_says_how_it_was_made(first, place):
    manifest = first.verify(1)
    assert (manifest.recipe, manifest.languages) == ("tiny", ("ko",))
    assert len(manifest.data_fingerprint) == 64
    assert manifest.provenance["seed"] == "42"
    assert manifest.provenance["gate"] == "passed"
    assert manifest.provenance["code"].startswith("0.")
    assert {"torch", "transformers", "datasets"} <= set(manifest.libraries)
    record = json.loads((place / "first" / "training.json").read_bytes())
    for name, value in record["metrics"].items():
        assert manifest.metrics[name] == pytest.approx(value, abs=1e-4)
    assert manifest.int8_scale > 0
    assert manifest.probes


def test_the_card_of_a_version_tells_what_people_ask(first):
    card = (first.local_folder(1) / "README.md").read_text(encoding="utf-8")
    sections = [
        "Architecture",
        "Usage",
        "Evaluation",
        "Intended use and limits",
        "Training data",
        "Training",
        "Citations",
    ]
    assert [section for section in sections if f"## {section}\n" not in card] == []
    assert "munjang.client" in card
    assert "kakaobrain/kor-nlu-datasets: CC BY-SA 4.0" in card
    assert "| 128" not in card
    assert "@inproceedings{reimers-2019-sentence-bert" in card
    assert "learning_rate" in card


def test_publishing_the_same_run_again_publishes_nothing(first, place):
    done = program(TRAINER, "publish", place / "first", "--registry", place / "registry")
    assert done.returncode == 0, done.stderr
    assert "version 1 was published before" in done.stdout
    assert first.versions() == [1]


def test_a_worse_model_is_refused_and_forced_in_is_rolled_back_under_calls(worse, first, place, start_server):
    assert first.versions() == [1]
    assert first.alias("stable").version == 1
    server = start_server(first.url, watch_seconds=0.1)
    with Client(server.target) as client:
        client.wait_ready(240)
    caller = Caller(server.target)
    caller.start()
    try:
        caller.wait_for(1)
        done = program(TRAINER, "publish", worse, "--registry", place / "registry", "--promote", "--force")
        assert done.returncode == 0, done.stderr
        assert "the gate refused, overruled by --force" in done.stdout
        caller.wait_for(2)
        undone = program(MUNJANG, "versions", "rollback", "--registry", place / "registry")
        assert undone.returncode == 0, undone.stderr
        caller.wait_for(1)
    finally:
        caller.finish()
    assert caller.errors == []
    assert first.manifest(2).provenance["gate"] == "refused, published by force"
    assert server.stop() == 0


def elsewhere(folder):
    """A folder far from a clone, in which our packages are found and nothing else of ours is."""
    folder.mkdir()
    root = Path(__file__).parents[2]
    places = [str(root), *(str(root / part) for part in ("server", "worker", "trainer"))]
    path = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"cwd": folder, "env": os.environ | {"PYTHONPATH": path}}


def test_the_shipped_recipe_needs_no_file_that_does_not_ship(tmp_path):
    place = elsewhere(tmp_path / "empty")
    done = program(TRAINER, "run", "tiny", "--output", "run", "--registry", "registry", "--promote", **place)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    manifest = Registry(str(tmp_path / "empty" / "registry")).verify(1)
    assert "requests-held-out.ndcg@10" in manifest.metrics


def test_the_five_minutes_of_the_guide_make_a_version_of_a_csv(tmp_path):
    place = elsewhere(tmp_path / "mine")
    blocks = dict(re.findall(r"```(csv|yaml)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL))
    header, *rows = blocks["csv"].splitlines()
    shipped = [f"{number}번 상품은 언제 오나요?,{number}번 상품은 {number}일 안에 도착합니다." for number in range(60)]
    (tmp_path / "mine" / "questions.csv").write_text("\n".join([header, *rows, *shipped]) + "\n", "utf-8")
    (tmp_path / "mine" / "mine.yaml").write_text(blocks["yaml"], "utf-8")
    # random weights, which train in seconds and know too little for the guide's minimum
    small = [
        "gate.minimum={}",
        "model.base=random",
        "model.random={}",
        "model.prompts={query: '질문: ', passage: '글: '}",
    ]
    options = [part for override in small for part in ("--set", override)]
    done = program(TRAINER, "run", "mine.yaml", "--output", "run", "--registry", "registry", *options, **place)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert "questions-held-out.ndcg@10" in Registry(str(tmp_path / "mine" / "registry")).manifest(1).metrics
