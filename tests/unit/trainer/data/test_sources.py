from __future__ import annotations

import gzip

import fsspec
import pytest

from munjang.errors import ConfigurationError
from munjang_trainer.data.files import read_lines
from munjang_trainer.data.sources import load_evaluation_source, load_source
from munjang_trainer.recipe.schema import GroupsSource, HoldOut, NliSource, PairsSource, StsSource, TripletsSource

STS = "genre\tscore\tsentence1\tsentence2\n뉴스\t5.0\t비가 온다.\t비가 내린다.\n뉴스\t나쁨\t가\t나\n뉴스\t6\t가\t나\n"
GROUPS = "".join(f"0\t0\t묶음 {group} 문장 {text}\n" for group in range(20) for text in range(4))


def test_scores_are_scaled_and_bad_ones_dropped(tmp_path):
    (tmp_path / "sts.tsv").write_text(STS, encoding="utf-8")
    loaded = load_source(StsSource(kind="sts", files=("sts.tsv",)), str(tmp_path), 42)
    assert loaded.train.rows == [("비가 온다.", "비가 내린다.", 1.0)]
    assert loaded.counts.dropped == {"no score, or one out of range": 2}


def test_klue_sts_is_read_from_its_json(tmp_path):
    (tmp_path / "klue.json").write_text(
        '[{"guid": "1", "sentence1": "가", "sentence2": "나", "labels": {"label": 2.5, "binary-label": 0}}]',
        encoding="utf-8",
    )
    assert load_source(StsSource(kind="sts", files=("klue.json",)), str(tmp_path), 42).train.rows == [("가", "나", 0.5)]


def test_a_file_may_lie_behind_any_fsspec_url_and_be_compressed():
    with fsspec.open("memory://trainer/sts.tsv.gz", "wb") as file:
        file.write(gzip.compress(STS.encode()))
    assert len(load_source(StsSource(kind="sts", files=("sts.tsv.gz",)), "memory://trainer", 42).train.rows) == 1


def test_line_separators_inside_a_text_do_not_end_the_line(tmp_path):
    (tmp_path / "t.txt").write_text("가\u2028나\n다\r\n", encoding="utf-8")
    assert list(read_lines(str(tmp_path / "t.txt"))) == ["가\u2028나", "다"]


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "sts.tsv").write_text("a\tb\n1\t2\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="no column 'sentence1'; it has a, b"):
        load_source(StsSource(kind="sts", files=("sts.tsv",)), str(tmp_path), 42)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing\.tsv cannot be read"):
        load_source(NliSource(kind="nli", files=("nothing.tsv",)), str(tmp_path), 42)


def test_groups_pair_every_text_equally_often(tmp_path):
    (tmp_path / "groups.txt").write_text(GROUPS, encoding="utf-8")
    source = GroupsSource(kind="groups", files=("groups.txt",), group_size=4, pairs_per_group=4)
    pairs = load_source(source, str(tmp_path), 42).train
    texts = pairs.texts()
    assert len(pairs.rows) == 80
    assert {texts.count(text) for text in texts} == {2}
    assert all(a.split(" 문장")[0] == b.split(" 문장")[0] and a != b for a, b, _ in pairs.rows)


def test_held_out_groups_are_whole_and_not_trained_on(tmp_path):
    (tmp_path / "groups.txt").write_text(GROUPS, encoding="utf-8")
    source = GroupsSource(kind="groups", files=("groups.txt",), group_size=4, hold_out=HoldOut(fraction=0.25))
    loaded = load_source(source, str(tmp_path), 42)
    assert len(loaded.held_out.rows) == 20
    assert not set(loaded.train.texts()) & set(loaded.held_out.texts())


def test_question_pairs_keep_only_those_of_like_meaning(tmp_path):
    (tmp_path / "pairs.csv").write_text(
        '\ufeffid,question1,question2,is_duplicate\n1,"비, 오네",비 온다,0\n2,가,나,1\n3,다,다,0\n', encoding="utf-8"
    )
    source = PairsSource(kind="pairs", files=("pairs.csv",), label="is_duplicate", same="0")
    loaded = load_source(source, str(tmp_path), 42)
    assert loaded.train.rows == [("비, 오네", "비 온다", "pairs.csv:0")]
    assert loaded.counts.dropped == {"not alike by its label": 1, "twice the same text": 1}
    assert load_evaluation_source(source, str(tmp_path), 42)[0].rows == [
        ("비, 오네", "pairs.csv:0"),
        ("비 온다", "pairs.csv:0"),
    ]


def test_folds_cover_all_rows_once(tmp_path):
    rows = "".join(f"{score / 20}\t문장 {score} 가\t문장 {score} 나\n" for score in range(100))
    (tmp_path / "sts.tsv").write_text("score\tsentence1\tsentence2\n" + rows, encoding="utf-8")
    held = []
    for fold in range(5):
        source = StsSource(kind="sts", files=("sts.tsv",), hold_out=HoldOut(folds=5, fold=fold))
        loaded = load_source(source, str(tmp_path), 42)
        assert len(loaded.train.rows) + len(loaded.held_out.rows) == 100
        held += loaded.held_out.rows
    assert len(held) == len(set(held)) == 100


def test_rows_that_share_a_text_stay_on_one_side(tmp_path):
    rows = "".join(f"1\t같은 문장 {number // 10}\t다른 문장 {number}\n" for number in range(100))
    (tmp_path / "sts.tsv").write_text("score\tsentence1\tsentence2\n" + rows, encoding="utf-8")
    source = StsSource(kind="sts", files=("sts.tsv",), hold_out=HoldOut(fraction=0.3))
    loaded = load_source(source, str(tmp_path), 7)
    assert len(loaded.held_out.rows) == 30
    assert not set(loaded.train.texts()) & set(loaded.held_out.texts())


def test_ready_triples_are_read_from_a_table(tmp_path):
    (tmp_path / "t.tsv").write_text("anchor\tpositive\tnegative\n가\t나\t다\n가\t\t다\n", encoding="utf-8")
    loaded = load_source(TripletsSource(kind="triplets", files=("t.tsv",)), str(tmp_path), 42)
    assert loaded.train.rows == [("가", "나", "다")]
    assert loaded.counts.dropped == {"empty text": 1}
