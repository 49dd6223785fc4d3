from __future__ import annotations

from munjang_trainer.data.files import RowCounts
from munjang_trainer.data.sources import Inference, make_triplets, read_nli

HEADER = "sentence1\tsentence2\tgold_label\n"


def test_quotation_marks_belong_to_the_text(tmp_path):
    file = tmp_path / "nli.tsv"
    file.write_text(HEADER + '"안녕"하고 말했다.\t"인사했다.\tentailment\n다음\t줄\tneutral\n', encoding="utf-8")
    counts = RowCounts()
    rows = list(read_nli(str(file), counts))
    assert rows[0] == Inference('"안녕"하고 말했다.', '"인사했다.', "entailment")
    assert (len(rows), counts.read) == (2, 2)


def test_dropped_rows_are_counted_by_reason(tmp_path):
    file = tmp_path / "nli.tsv"
    file.write_text(HEADER + "가\t나\t-\n \t나\tneutral\n가\t나\n가\t나\tneutral\n", encoding="utf-8")
    counts = RowCounts()
    assert list(read_nli(str(file), counts)) == [Inference("가", "나", "neutral")]
    assert counts.read == 4
    assert counts.dropped == {"unknown label": 1, "empty sentence": 1, "wrong number of columns": 1}


def test_empty_sentences_stay_where_the_reference_is_followed(tmp_path):
    file = tmp_path / "nli.tsv"
    file.write_text(HEADER + "\t나\tneutral\n", encoding="utf-8")
    assert list(read_nli(str(file), RowCounts(), keep_empty=True)) == [Inference("", "나", "neutral")]


def test_a_sentence_with_entailment_and_contradiction_gives_two_triples():
    rows = [
        Inference("남자가 드럼을 친다.", "남자가 연주한다.", "entailment"),
        Inference("남자가 드럼을 친다.", "남자가 잔다.", "contradiction"),
        Inference("남자가 드럼을 친다.", "무대가 있다.", "neutral"),
    ]
    assert make_triplets(rows, 42) == [
        ("남자가 드럼을 친다.", "남자가 연주한다.", "남자가 잔다."),
        ("남자가 연주한다.", "남자가 드럼을 친다.", "남자가 잔다."),
    ]


def test_pairs_count_in_both_directions():
    rows = [Inference("가", "나", "entailment"), Inference("다", "나", "contradiction")]
    assert make_triplets(rows, 42) == [("나", "가", "다"), ("가", "나", "다")]


def test_the_seed_decides_which_sentence_is_picked():
    rows = [Inference("앵커", f"함의 {number}", "entailment") for number in range(50)]
    rows.append(Inference("앵커", "모순", "contradiction"))
    assert make_triplets(rows, 1) == make_triplets(rows, 1)
    assert make_triplets(rows, 1) != make_triplets(rows, 2)


def test_repeated_rows_add_no_weight():
    rows = [Inference("가", "나", "entailment"), Inference("가", "다", "contradiction")]
    assert make_triplets(rows * 3, 42) == make_triplets(rows, 42)
