from __future__ import annotations

import unicodedata

import pytest

from munjang.errors import ConfigurationError
from munjang_trainer.data.leakage import DataLeak, match_key
from munjang_trainer.data.prepare import prepare, read_evaluation, read_report, read_sources, write_hashes
from munjang_trainer.recipe.schema import DataConfig

HEADER = "score\tsentence1\tsentence2\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.tsv").write_text(HEADER + "5\t비가 온다.\t비가 내린다.\n1\t눈이 온다!\t해가 뜬다.\n", "utf-8")
    (tmp_path / "dev.tsv").write_text(HEADER + "3\t눈이  온다\t바람이 분다.\n", "utf-8")
    return tmp_path


def part(folder, leaks="fail", **changes):
    content = {
        "folder": str(folder),
        "leaks": leaks,
        "sources": {"sts": {"kind": "sts", "files": ["train.tsv"]}},
        "evaluation": {"dev": {"source": {"kind": "sts", "files": ["dev.tsv"]}}},
    }
    return DataConfig.model_validate(content | changes)


def test_a_leak_ends_the_run_and_names_the_place(folder):
    with pytest.raises(DataLeak, match="1 rows of 'sts' hold texts of 'dev'") as raised:
        prepare(part(folder), 42, folder / "out")
    assert "눈이 온다!" in str(raised.value)
    assert read_report(folder / "out") is None


def test_leaking_rows_are_dropped_on_demand(folder):
    report = prepare(part(folder, "drop"), 42, folder / "out")
    assert read_sources(folder / "out")["sts"].rows == [("비가 온다.", "비가 내린다.", 1.0)]
    assert report.sources["sts"].dropped == {"text of an evaluation set": 1}
    assert [(leak.rows, leak.whole_rows, leak.texts) for leak in report.leaks] == [(1, 0, 1)]


def test_leaks_may_be_overruled_but_stay_in_the_report(folder):
    report = prepare(part(folder, "allow"), 42, folder / "out")
    assert report.sources["sts"].rows == 2
    assert len(report.leaks) == 1


def test_leaks_are_found_whatever_the_spelling():
    assert match_key("ＡＢＣ, 한글!") == match_key("abc 한글")
    assert match_key(unicodedata.normalize("NFD", "한글")) == match_key("한글")
    assert match_key("?!") == "?!"
    assert match_key("가") != match_key("나")


def test_the_same_seed_gives_the_same_fingerprint_and_another_file_another(folder):
    first = prepare(part(folder, "drop"), 42, folder / "a")
    assert prepare(part(folder, "drop"), 42, folder / "b").fingerprint == first.fingerprint
    (folder / "train.tsv").write_text(HEADER + "4\t비가 온다.\t비가 내린다.\n", "utf-8")
    assert prepare(part(folder, "drop"), 42, folder / "a").fingerprint != first.fingerprint


def test_a_standing_preparation_is_used_again(folder):
    prepare(part(folder, "drop"), 42, folder / "out")
    (folder / "out" / "sts.parquet").unlink()
    prepare(part(folder, "drop"), 42, folder / "out")
    assert not (folder / "out" / "sts.parquet").exists()
    prepare(part(folder, "allow"), 42, folder / "out")
    assert (folder / "out" / "sts.parquet").exists()


def test_an_optional_set_may_be_missing_and_is_named(folder):
    missing = {"test": {"source": {"kind": "sts", "files": ["none.tsv"]}, "optional": True}}
    report = prepare(part(folder, evaluation=missing), 42, folder / "out")
    assert (report.missing, read_evaluation(folder / "out")) == (["test"], {})


def test_a_set_that_is_not_optional_must_be_there(folder):
    with pytest.raises(ConfigurationError, match=r"none\.tsv cannot be read"):
        prepare(part(folder, evaluation={"t": {"source": {"kind": "sts", "files": ["none.tsv"]}}}), 42, folder / "o")


def test_token_lengths_are_reported(folder):
    report = prepare(part(folder, "drop"), 42, folder / "out", lambda texts: [len(text.split()) for text in texts])
    spread = report.sources["sts"].tokens["sentence1"]
    assert (spread.least, spread.mean, spread.most) == (2, 2.0, 2)


def test_the_reference_triples_on_real_data(shared_data, tmp_path):
    sources = {"nli": {"kind": "nli", "files": ["kornli/xnli.dev.ko.tsv", "kornli/xnli.test.ko.tsv"]}}
    report = prepare(DataConfig.model_validate({"folder": str(shared_data), "sources": sources}), 42, tmp_path)
    nli = report.sources["nli"]
    assert (nli.read, nli.rows, nli.in_whole_batches, nli.dropped) == (7500, 5000, 4992, {})
    assert nli.sha256 == "bcf8c531bc59d2954937fe4bdcf94a988f97ca00b6ab3c56348321645a2a5ace"


def test_korsts_loads_all_its_rows(shared_data, tmp_path):
    train = {"sts": {"kind": "sts", "files": ["korsts/sts-train.tsv"]}}
    dev = {"dev": {"source": {"kind": "sts", "files": ["korsts/sts-dev.tsv"]}}}
    content = {"folder": str(shared_data), "sources": train, "evaluation": dev, "leaks": "allow"}
    report = prepare(DataConfig.model_validate(content), 42, tmp_path)
    assert (report.sources["sts"].rows, report.evaluation["dev"].rows) == (5749, 1500)
    assert report.leaks[0].rows == 298


def test_paraphrases_load_as_groups_and_pairs(shared_data, tmp_path):
    sources = {
        "parakqc": {"kind": "groups", "files": ["paraphrase/paraKQC_v1.txt"], "hold_out": {"fraction": 0.1}},
        "questions": {
            "kind": "pairs",
            "files": ["paraphrase/kor_pair_train.csv"],
            "label": "is_duplicate",
            "same": "0",
        },
    }
    content = {"folder": str(shared_data), "sources": sources, "leaks": "drop"}
    report = prepare(DataConfig.model_validate(content), 42, tmp_path)
    assert (report.sources["parakqc"].rows, report.evaluation["parakqc-held-out"].rows) == (9000, 1000)
    assert (report.sources["questions"].read, report.sources["questions"].rows) == (6888, 3813)


def test_texts_of_a_set_of_which_only_hashes_are_kept_are_not_trained_on(folder):
    prepare(part(folder, "allow"), 42, folder / "whole")
    assert write_hashes(folder / "whole", folder / "mteb.txt") == 2
    hashed = {"hashes": ["mteb.txt"], "evaluation": {}}
    with pytest.raises(DataLeak, match="1 rows of 'sts' hold texts of 'mteb'"):
        prepare(part(folder, **hashed), 42, folder / "out")
    prepare(part(folder, "drop", **hashed), 42, folder / "out")
    assert read_sources(folder / "out")["sts"].rows == [("비가 온다.", "비가 내린다.", 1.0)]


def test_a_file_that_holds_no_hashes_is_refused(folder):
    with pytest.raises(ConfigurationError, match="no sha256 in hexadecimal"):
        prepare(part(folder, hashes=["train.tsv"], evaluation={}), 42, folder / "out")
