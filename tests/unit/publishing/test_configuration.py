"""What a folder does not say is said by the publisher or the catalogue, and never guessed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.errors import UnsupportedModel
from munjang.publishing import Lineage, Options, find_model, publish_model, publish_source
from munjang.publishing.configuration import complete
from munjang.publishing.staging import staged

TEXTS = ["남자가 음악을 연주하고 있다.", "각"]


def rewrite(path, **changes):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


def vectors(registry, version):
    encoder = load_encoder(registry.local_folder(version), LoadOptions(device="cpu", runtime="torch"))
    return encode(encoder, TEXTS)


def completed(folder, name="ours/model", options=Options(), entry=None):  # noqa: B008 - it is frozen
    """The configuration that the staged copy of a folder gets."""
    with staged(folder) as stage:
        complete(stage.folder, name, options, entry)
        config = stage.folder / "config_sentence_transformers.json"
        return json.loads(config.read_text()) if config.exists() else {}


def test_a_plain_folder_without_a_pooling_is_refused_and_asked_for_it(registry, plain):
    with pytest.raises(UnsupportedModel, match=r"plain has no pooling.*--pooling .*mean, cls, lasttoken") as caught:
        publish_model(registry, plain)
    assert caught.value.field == "pooling"
    assert registry.versions() == []


@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
def test_a_plain_folder_gets_the_pooling_that_is_named(registry, plain, pooling):
    version = publish_model(registry, plain, options=Options(pooling=pooling)).version
    transformer = Transformer(str(plain))
    reference = SentenceTransformer(modules=[transformer, Pooling(32, pooling)], device="cpu")
    np.testing.assert_allclose(vectors(registry, version), reference.encode(TEXTS), atol=1e-5)
    assert not (plain / "modules.json").exists()


def test_a_pooling_that_does_not_exist_is_refused_with_those_that_do(registry, plain):
    with pytest.raises(UnsupportedModel, match="no pooling 'average': choose one of mean, cls"):
        publish_model(registry, plain, options=Options(pooling="average"))


def test_a_folder_that_says_its_pooling_is_not_given_another(registry, folder):
    with pytest.raises(UnsupportedModel, match=r"says its pooling itself, in modules\.json: leave --pooling out"):
        publish_model(registry, folder, options=Options(pooling="cls"))


def test_a_transformer_module_alone_has_no_pooling_either(registry, folder):
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:1]))
    with pytest.raises(UnsupportedModel, match="has no pooling"):
        publish_model(registry, folder)
    assert publish_model(registry, folder, options=Options(pooling="cls")).dimensions == 32


def test_the_catalogue_fills_in_the_pooling_of_a_hubs_model(registry, hub, plain):
    hub("BM-K/KoSimCSE-roberta", plain)
    told = []
    published = publish_source(registry, find_model("BM-K/KoSimCSE-roberta"), tell=told.append)
    assert published.new
    assert "pooling cls, from the catalogue" in told
    named = publish_model(registry, plain, options=Options(pooling="cls")).version
    assert (vectors(registry, published.manifest.version) == vectors(registry, named)).all()
    assert published.manifest.base_model == "BM-K/KoSimCSE-roberta"
    assert published.manifest.provenance["hub"] == "BM-K/KoSimCSE-roberta"


def test_a_folder_that_is_called_like_a_model_is_told_what_the_catalogue_says_but_not_given_it(
    registry, plain, tmp_path
):
    folder = shutil.copytree(plain, tmp_path / "KoSimCSE-roberta")
    with pytest.raises(UnsupportedModel, match=r"The catalogue has BM-K/KoSimCSE-roberta: --pooling cls"):
        publish_model(registry, folder)


def test_prompts_of_the_catalogue_are_filled_in_only_where_the_folder_has_none(registry, hub, plain, folder):
    hub("nlpai-lab/KoE5", plain)
    manifest = publish_source(registry, find_model("nlpai-lab/KoE5")).manifest
    assert manifest.prompts == {"query": "query: ", "document": "passage: "}
    hub("intfloat/multilingual-e5-small", folder)
    manifest = publish_source(registry, find_model("intfloat/multilingual-e5-small")).manifest
    assert manifest.prompts == {"query": "질문: ", "document": ""}


def test_prompts_that_are_given_win_over_those_of_the_folder(registry, folder):
    options = Options(prompts={"query": "물음: ", "passage": "글: "}, default_prompt="passage")
    manifest = publish_model(registry, folder, options=options)
    assert manifest.prompts == {"query": "물음: ", "document": "", "passage": "글: "}
    assert manifest.default_prompt == "passage"
    assert json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]["query"] == "질문: "


def test_a_default_prompt_that_the_model_does_not_have_is_refused(registry, folder):
    with pytest.raises(UnsupportedModel, match="has no prompt 'passage' to be the default: it has document, query"):
        publish_model(registry, folder, options=Options(default_prompt="passage"))


def test_a_limit_is_set_as_far_as_the_model_reads(registry, folder, plain):
    assert publish_model(registry, folder, options=Options(max_tokens=16)).max_tokens == 16
    told = []
    manifest = publish_model(registry, plain, options=Options("cls", max_tokens=4096), tell=told.append)
    assert manifest.max_tokens == 64
    assert any("64 tokens are read" in line and "4096" in line for line in told)


def test_truncate_dim_cuts_vectors_as_sentence_transformers_does(registry, folder):
    rewrite(folder / "config_sentence_transformers.json", truncate_dim=12)
    manifest = publish_model(registry, folder)
    reference = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert manifest.dimensions == 12
    np.testing.assert_allclose(vectors(registry, manifest.version), reference, atol=1e-6)


@pytest.mark.parametrize("length", [0, -1, True, "64"])
def test_a_truncate_dim_that_is_no_number_of_dimensions_is_refused(folder, length):
    rewrite(folder / "config_sentence_transformers.json", truncate_dim=length)
    with pytest.raises(UnsupportedModel, match="truncate_dim"):
        completed(folder)


def test_queries_that_are_filled_up_are_refused_by_name(folder):
    rewrite(folder / "sentence_bert_config.json", query_expansion=True)
    with pytest.raises(UnsupportedModel, match=r"sentence_bert_config\.json sets query_expansion.*remove it"):
        completed(folder)


def test_an_activation_that_would_be_replaced_by_another_is_refused(folder):
    (folder / "2_Dense").mkdir()
    content = {"in_features": 32, "out_features": 8, "activation_function": "ours.activations.Swish"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(content))
    with pytest.raises(UnsupportedModel, match=r"2_Dense/config\.json names the activation 'ours\.activations\.Swish'"):
        completed(folder)


def test_the_same_files_are_not_published_twice_where_that_is_asked_for(registry, hub, plain):
    hub("BM-K/KoSimCSE-roberta", plain)
    source = find_model("BM-K/KoSimCSE-roberta")
    first = publish_source(registry, source, Lineage(recipe="one"), reuse=True)
    again = publish_source(registry, source, reuse=True)
    assert (first.new, again.new, again.manifest) == (True, False, first.manifest)
    assert publish_source(registry, source).manifest.version == 2
