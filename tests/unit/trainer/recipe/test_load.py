from __future__ import annotations

import pytest
import yaml

from munjang.errors import ConfigurationError
from munjang_trainer.recipe.load import dump_recipe, load_recipe, shipped

RECIPE = {
    "name": "mine",
    "model": {"base": "folder"},
    "data": {"sources": {"sts": {"kind": "sts", "files": ["train.tsv"], "hold_out": {"fraction": 0.1}}}},
    "stages": [{"name": "one", "datasets": {"sts": {"loss": "cosent"}}}],
}


def written(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return str(path)


def test_a_recipe_round_trips_with_its_defaults(tmp_path):
    recipe = load_recipe(written(tmp_path, RECIPE))
    assert load_recipe(written(tmp_path, yaml.safe_load(dump_recipe(recipe)))) == recipe
    assert recipe.stages[0].batch_size == 64


def test_single_values_can_be_overruled(tmp_path):
    path = written(tmp_path, RECIPE)
    recipe = load_recipe(path, data_folder="s3://mine", overrides=["stages.0.learning_rate=3.0e-5", "seed=7"])
    assert (recipe.stages[0].learning_rate, recipe.seed, recipe.data.folder) == (3e-5, 7, "s3://mine")


@pytest.mark.parametrize("override", ["seed", "stages.5.steps=1", "stages.x.steps=1", "name.x=1"])
def test_an_override_that_fits_nothing_is_refused(tmp_path, override):
    with pytest.raises(ConfigurationError, match="is not an override"):
        load_recipe(written(tmp_path, RECIPE), overrides=[override])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"titel": "x"}, "titel: Extra inputs are not permitted"),
        ({"stages": []}, "stages: "),
        ({"stages": [{"name": "a", "datasets": {"nli": {"loss": "mnrl"}}}]}, "not among data.sources"),
        ({"stages": [{"name": "a", "datasets": {"sts": {"loss": "mnrl"}}}]}, "take the losses cosent, cosine, distill"),
        (
            {"stages": [{"name": "a", "datasets": {"sts": {"loss": "distill"}}}]},
            "stages.0.datasets.sts: .*needs `teacher:`",
        ),
        (
            {"stages": [{"name": "a", "datasets": {"sts": {"loss": "cosent", "contrast": 1}}}]},
            "belongs to distill-ranking",
        ),
        ({"stages": [{"name": "a", "datasets": {"sts": {"loss": "cosent", "roles": {"x": "query"}}}}]}, "not x"),
        ({"stages": [{"name": "a", "merge": {"with": "base"}, "centre": {}}]}, "either `merge:` or `centre:`"),
        ({"stages": [{"name": "a", "merge": {"with": "stable"}}]}, "stages.0.merge.with: Input should be 'base'"),
        ({"stages": [{"name": "a", "datasets": {"sts": {"loss": "cosent"}}, "patience": 1}]}, "need `watch"),
        (
            {
                "stages": [
                    RECIPE["stages"][0] | {"keep": "best", "watch": "sts-held-out.cosine_spearman", "average": 0.9}
                ]
            },
            "keep: best looks at single checkpoints",
        ),
        ({"gate": {"minimum": {"korsts.spearman": 0.8}}}, "there are sts-held-out"),
        ({"model": {"base": "random"}}, "belong together"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused_in_words(tmp_path, change, words):
    with pytest.raises(ConfigurationError, match=words):
        load_recipe(written(tmp_path, RECIPE | change))


def test_what_is_no_recipe_is_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not valid"):
        load_recipe(str(tmp_path / "list.yaml"))
    with pytest.raises(ConfigurationError, match="there is no recipe 'nothing'"):
        load_recipe("nothing")


def test_a_recipe_with_stages_without_training_is_the_same_after_writing_it(tmp_path):
    stages = [{"name": "centred", "centre": {}}, *RECIPE["stages"], {"name": "merged", "merge": {"with": "base"}}]
    recipe = load_recipe(written(tmp_path, RECIPE | {"stages": stages}))
    assert [stage.name for stage in recipe.trainings] == [stage["name"] for stage in RECIPE["stages"]]
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe), "utf-8")
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe


def test_only_the_reference_and_its_multitask_form_are_trained_on_kornli_and_none_on_its_test_file():
    for name in shipped():
        recipe = load_recipe(name)
        files = {file for source in recipe.data.sources.values() for file in source.files}
        assert not any("xnli" in file for file in files), name
        assert not any("korquad" in file for file in files), name


@pytest.mark.parametrize("name", ["klue-roberta-nli", "multitask", "starter-ko", "starter-adapter", "tiny"])
def test_every_shipped_recipe_is_valid_and_named_as_its_file(name):
    assert name in shipped()
    assert load_recipe(name).name == name


def test_the_reference_recipe_has_every_value_of_the_reference():
    recipe = load_recipe("klue-roberta-nli")
    stage = recipe.stages[0]
    dataset = stage.datasets["nli"]
    assert (recipe.model.base, recipe.model.max_tokens, recipe.model.pooling) == ("klue/roberta-base", 128, "mean")
    assert (dataset.loss, dataset.scale, stage.sampler) == ("mnrl", 20, "no-duplicates")
    assert (stage.batch_size, stage.epochs, stage.learning_rate, stage.schedule) == (64, 1, 5e-5, "linear")
    assert (stage.warmup, stage.weight_decay, stage.max_grad_norm, recipe.seed) == (0, 0, 1, 42)
    assert (stage.precision, stage.evaluate_every, recipe.evaluation.during_training) == (
        "float32",
        1000,
        ("korsts-dev",),
    )
