from __future__ import annotations

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from munjang.errors import ConfigurationError
from munjang_trainer.starter.adapter import extract, merge_adapter

METRICS = {"dev.cosine_spearman": 0.85}


def write(folder, **weights):
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def models(tmp_path):
    draw = np.random.default_rng(0)
    base = {
        "layer": draw.standard_normal((20, 30)).astype(np.float32),
        "bias": draw.standard_normal(20).astype(np.float32),
        "kept": np.ones((4, 4), np.float32),
    }
    change = 0.1 * draw.standard_normal((20, 3)) @ draw.standard_normal((3, 30))
    tuned = base | {"layer": (base["layer"] + change).astype(np.float32), "bias": base["bias"] + np.float32(0.5)}
    return write(tmp_path / "base", **base), write(tmp_path / "tuned", **tuned)


def test_what_was_extracted_makes_the_tuned_model_of_its_base(models, tmp_path):
    base, tuned = models
    assert extract(base, tuned, 3, tmp_path / "adapter.safetensors", METRICS) == pytest.approx(1)
    adapter = load_file(tmp_path / "adapter.safetensors")
    assert {name: value.shape for name, value in adapter.items()} == {
        "layer.up": (20, 3),
        "layer.down": (3, 30),
        "bias.add": (20,),
    }
    assert {value.dtype for value in adapter.values()} == {np.dtype(np.float16)}
    merge_adapter(base, tmp_path / "adapter.safetensors")
    merged, wanted = load_file(base / "model.safetensors"), load_file(tuned / "model.safetensors")
    for name, value in wanted.items():
        np.testing.assert_allclose(merged[name], value, atol=1e-3)
    with safe_open(base / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_rank_that_is_too_small_tells_how_much_it_holds(models, tmp_path):
    assert 0.3 < extract(*models, 1, tmp_path / "adapter.safetensors", METRICS) < 0.99


def test_models_of_another_form_and_equal_ones_are_refused(models, tmp_path):
    base, tuned = models
    with pytest.raises(ConfigurationError, match="there is nothing to keep"):
        extract(base, base, 3, tmp_path / "none", METRICS)
    other = write(tmp_path / "other", layer=np.ones((3, 3), np.float32))
    with pytest.raises(ConfigurationError, match="has not the form of"):
        extract(base, other, 3, tmp_path / "none", METRICS)
    extract(base, tuned, 3, tmp_path / "adapter.safetensors", METRICS)
    with pytest.raises(ConfigurationError, match="does not have in that form"):
        merge_adapter(other, tmp_path / "adapter.safetensors")
