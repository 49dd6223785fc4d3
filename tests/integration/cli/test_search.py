import numpy as np
from sentence_transformers import SentenceTransformer

TEXTS = ["내일 서울에는 비가 내리겠습니다.", "남자가 드럼을 쳤다.", "환불은 사흘 안에 됩니다."]


def test_the_ranking_is_the_models_own_with_its_roles(run, target, tiny_folder):
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    query = model.encode_query("비가 오나요?", normalize_embeddings=True)
    expected = model.encode_document(TEXTS, normalize_embeddings=True) @ query
    found = run("search", "비가 오나요?", *TEXTS, "--target", target, "--json").json()
    assert [each["index"] for each in found["results"]] == np.argsort(-expected, kind="stable").tolist()
    np.testing.assert_allclose([each["score"] for each in found["results"]], np.sort(expected)[::-1], atol=1e-5)


def test_a_file_is_searched_and_one_text_compared_with_a_word_of_advice(run, target, tmp_path):
    file = tmp_path / "faq.txt"
    file.write_text("\n".join(TEXTS), encoding="utf-8")
    done = run("search", "비", "--in", file, "--top", "2", "--target", target)
    assert done.status == 0
    assert sum(text in done.out for text in TEXTS) == 2
    alone = run("similarity", "글", "--target", target)
    assert alone.status == 0
    assert "one text is compared with itself" in alone.err
    assert "`munjang search TEXT --in FILE`" in " ".join(alone.err.split())
