"""OpenVINO on a CPU: the same vectors as torch, an export that is kept and made anew, torch for what it cannot run."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime import export as exports
from munjang.encoder.openvino_runtime import load as openvino_load
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.encoder.tokenizer import tokenizer_for
from munjang.errors import ConfigurationError, ModelLoadFailed
from munjang.testing_models import tiny_model
from tests.smaps import needs_smaps, resident

TEXTS = [
    "밀짚모자를 쓴 남자가 드럼을 쳤다.",
    "각",
    "ㅋㅋ 🥁 drum",
    "띄어쓰기가 있든 없든 " * 40,
    "남자가 바이올린을 켠다.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def export(tmp_path_factory, folder):
    path = tmp_path_factory.mktemp("cache") / "exports" / "tiny"
    load_encoder(folder, LoadOptions(device="cpu", export=path))
    return path


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


@pytest.mark.parametrize("prompt_name", ["", "query"])
def test_vectors_equal_those_of_sentence_transformers_one_by_one_and_together(folder, prompt_name):
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt_name=prompt_name or None)
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    assert (encoder.runtime, encoder.compute_type) == ("openvino", "float32")
    how = prompting(encoder.info, prompt_name=prompt_name)
    together = encode(encoder, TEXTS, how, budget=10_000)
    alone = np.concatenate([encode(encoder, [text], how) for text in TEXTS])
    assert cosines(together, expected).min() >= 0.9999
    assert cosines(alone, expected).min() >= 0.9999


@pytest.mark.parametrize("architecture", ["bert", "roberta", "xlm-roberta", "electra"])
def test_padding_that_is_written_in_a_text_is_read_as_by_sentence_transformers(tmp_path, architecture):
    folder = tiny_model(tmp_path / "m", architecture=architecture)
    texts = ["남자가 [PAD] 바이올린을 [PAD][PAD] 켠다.", "[PAD]", *TEXTS[:3]]
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts, batch_size=1)
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    assert encoder.packs
    assert 0 in encoder.tokenize(texts[:1])[0].ids[1:-1]
    assert cosines(encode(encoder, texts), expected).min() >= 0.9999
    assert cosines(encode(encoder, texts[:1]), expected[:1]).min() >= 0.9999


def test_an_export_serves_without_torch(export, folder):
    program = (
        "import sys; from pathlib import Path; from munjang.encoder.load import LoadOptions, load_encoder\n"
        f"encoder = load_encoder(Path({str(folder)!r}), LoadOptions(device='cpu', export=Path({str(export)!r})))\n"
        "assert encoder.forward(encoder.tokenize(['문장'])).shape == (1, 32)\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)

    assert done.stdout.strip() == "[]"


def test_an_export_gives_the_vectors_of_the_model(export, folder):
    fresh = load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))
    kept = load_encoder(folder, LoadOptions(device="cpu", export=export))

    assert kept.info == fresh.info
    assert cosines(encode(kept, TEXTS), encode(fresh, TEXTS)).min() >= 0.9999


@needs_smaps
def test_the_weights_are_not_kept_in_memory_twice(tmp_path, export, folder):
    own = shutil.copytree(export, tmp_path / "own")
    encoder = load_encoder(folder, LoadOptions(device="cpu", export=own, interactive=True))
    tokens = encoder.tokenize(["문장 세 개"])
    first = encoder.forward(tokens)
    encoder.tidy()
    assert resident(own / "model.bin") == 0

    assert (encoder.forward(tokens) == first).all()
    assert 0 < resident(own / "model.bin") < (own / "model.bin").stat().st_size // 2  # the rows that were looked up


def test_a_closed_encoder_needs_no_collection_to_be_gone(tmp_path, export, folder):
    own = shutil.copytree(export, tmp_path / "own")
    encoder = load_encoder(folder, LoadOptions(device="cpu", export=own, interactive=True))
    encoder.forward(encoder.tokenize(["문장"]))
    gone = weakref.ref(encoder._forward)
    gc.disable()
    try:
        encoder.close()
        assert gone() is None
        assert str(own / "model.bin") not in Path("/proc/self/maps").read_text()
    finally:
        gc.enable()


def test_models_with_the_same_rules_share_a_tokenizer_while_one_of_them_lives(export, folder):
    first, second = (load_encoder(folder, LoadOptions(device="cpu", export=export)) for _ in range(2))
    assert first._tokenize is second._tokenize
    assert tokenizer_for(first._tokenize.rules.model_copy(update={"max_tokens": 8})) is not first._tokenize

    gone = weakref.ref(first._tokenize)
    del first, second
    assert gone() is None


@pytest.mark.parametrize("damage", ["rules.json", "model.xml", "model.bin"])
def test_an_export_that_cannot_be_read_is_made_anew(tmp_path, export, folder, damage, caplog):
    broken = tmp_path / "exports" / "tiny"
    shutil.copytree(export, broken)
    (broken / damage).write_bytes(b"half")

    encoder = load_encoder(folder, LoadOptions(device="cpu", export=broken))

    assert encoder.forward(encoder.tokenize(["문장"])).shape == (1, 32)
    assert exports.read(broken) is not None
    assert "an export cannot be read" in caplog.text


def test_an_export_in_a_cache_that_may_only_be_read_serves(export, folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(exports.os, "utime", refuse)
    encoder = load_encoder(folder, LoadOptions(device="cpu", export=export))

    assert encoder.runtime == "openvino"


def test_a_model_that_is_no_transformer_runs_in_torch(tmp_path, folder):
    static = StaticEmbedding(Tokenizer.from_file(str(folder / "tokenizer.json")), embedding_dim=16)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))

    assert load_encoder(tmp_path / "static", LoadOptions(device="cpu")).runtime == "torch"
    with pytest.raises(ModelLoadFailed, match="OpenVINO cannot run"):
        load_encoder(tmp_path / "static", LoadOptions(device="cpu", runtime="openvino"))


def test_a_pooling_that_leaves_out_the_prompt_runs_in_torch(tmp_path):
    folder = tiny_model(tmp_path / "m", include_prompt=False)

    assert load_encoder(folder, LoadOptions(device="cpu")).runtime == "torch"


def test_a_number_format_that_the_processor_lacks_is_refused(folder, monkeypatch):
    monkeypatch.setattr(openvino_load, "supported", lambda _: False)

    with pytest.raises(ConfigurationError, match="bfloat16"):
        load_encoder(folder, LoadOptions(device="cpu", compute_type="bfloat16"))


def test_only_the_exports_that_were_used_last_are_kept(tmp_path, export):
    names = [str(number) * 32 for number in range(5)]
    for name in names:
        shutil.copytree(export, tmp_path / "exports" / name)
    found = exports.read(tmp_path / "exports" / names[0])
    assert found is not None
    exports.write(found, tmp_path / "exports" / ("a" * 32), 3)

    kept = {path.name for path in (tmp_path / "exports").iterdir()}
    assert len(kept) == 3
    assert {names[0], "a" * 32} <= kept


def test_nothing_is_deleted_beside_an_export_that_is_not_one(tmp_path, export):
    cache = tmp_path / "exports"
    strangers = ["thesis", ".draft-of-a-letter", "b" * 32, "model-1"]
    for name in strangers:
        (cache / name).mkdir(parents=True)
        (cache / name / "precious.txt").write_text("mine", "utf-8")
        os.utime(cache / name, (0, 0))
    shutil.copytree(export, cache / "model-2")
    (cache / ("c" * 32)).symlink_to(export)
    found = exports.read(export)
    assert found is not None
    exports.write(found, cache / ("a" * 32), 1)
    exports.write(found, cache / ("d" * 32), 1)

    left = {path.name for path in cache.iterdir()}
    assert left == {*strangers, "model-2", "c" * 32, "d" * 32}
    assert all((cache / name / "precious.txt").read_text("utf-8") == "mine" for name in strangers)


def test_what_a_killed_process_left_of_an_export_goes_with_the_next_one(tmp_path, export):
    shutil.copytree(export, tmp_path / "exports" / ".munjang-draft-left")
    shutil.copytree(export, tmp_path / "exports" / ".munjang-draft-of-another")
    os.utime(tmp_path / "exports" / ".munjang-draft-left", (0, 0))
    found = exports.read(export)
    assert found is not None
    exports.write(found, tmp_path / "exports" / "new", 3)
    assert {path.name for path in (tmp_path / "exports").iterdir()} == {".munjang-draft-of-another", "new"}


def test_openvino_tells_its_makers_nothing():
    code = (
        "import munjang.encoder.openvino_runtime.export; "
        "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "telemetry_stub" in said


@pytest.mark.parametrize("name", ["thesis", "0123456789abcdef0123456789abcdef", ".munjang-draft-mine"])
def test_what_lies_where_an_export_would_is_neither_replaced_nor_deleted(tmp_path, folder, name):
    mine = tmp_path / "cache" / name
    mine.mkdir(parents=True)
    (mine / "rules.json").write_text("mine")
    (mine / "precious.txt").write_text("mine")
    encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", runtime="openvino", export=mine))
    encoder.close()
    assert {path.name: path.read_text() for path in mine.iterdir()} == {"rules.json": "mine", "precious.txt": "mine"}
    assert [path.name for path in mine.parent.iterdir()] == [name]
