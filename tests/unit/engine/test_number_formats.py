"""An attempt in a faster number format that fails in any way is not the end: float32 is next, and the log says why."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from munjang.encoder.encode import encode
from munjang.engine import version_loader
from munjang.engine.version_loader import VersionLoader
from munjang.errors import ConfigurationError, ModelLoadFailed, ProbeMismatch, UnsupportedModel
from munjang.registry import Manifest, Probe
from munjang.settings import EngineSettings
from munjang.testing import FakeEncoder

FAILURES = [
    RuntimeError("the plugin has no such kernel"),
    MemoryError(),
    OSError(28, "No space left on device"),
    KeyError("model.layers.0"),
    NotImplementedError("bf16"),
    ModelLoadFailed("the process that converts the model ended by SIGKILL"),
    UnsupportedModel("its traced graph gives other vectors than the model"),
    ConfigurationError("this processor does not compute in bfloat16"),
    ProbeMismatch("cosine 0.9"),
]


class Registry:
    """One version."""

    def manifest(self, version):
        encoder = FakeEncoder()
        probes = [Probe.of("글", encode(encoder, ["글"])[0])]
        return Manifest(
            version=version, created_at=datetime.now(UTC), files=(), dimensions=8, max_tokens=128, probes=probes
        )


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """The number formats that were tried, and what each does: an exception is raised, an encoder served."""
    ways = {"bfloat16": FakeEncoder(), "auto": FakeEncoder(), "float32": FakeEncoder(), "asked": []}

    def load(folder, options):
        ways["asked"].append(options.compute_type)
        found = ways[options.compute_type]
        if isinstance(found, Exception):
            raise found
        found.compute_type, found.runtime = (
            "float32" if options.compute_type == "auto" else options.compute_type,
            "fake",
        )
        return found

    monkeypatch.setattr(version_loader, "load_encoder", load)
    monkeypatch.setattr(version_loader, "fetch", lambda *_, **__: tmp_path)
    monkeypatch.setattr(version_loader, "computes_in_bfloat16", lambda _: True)
    ways["load"] = lambda **changes: VersionLoader(
        Registry(), EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128, **changes)
    )(1)
    return ways


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_whatever_the_faster_attempt_raises_float32_serves_and_the_log_says_why(tried, caplog, failure):
    tried["bfloat16"] = failure
    with caplog.at_level(logging.WARNING):
        _, encoder = tried["load"]()

    assert encoder is tried["float32"]
    assert tried["asked"] == ["bfloat16", "float32"]
    assert type(failure).__name__ in caplog.text
    assert str(failure) in caplog.text


def test_a_faster_forward_that_fails_is_closed_before_float32_serves(tried):
    tried["bfloat16"].failing = True
    _, encoder = tried["load"]()

    assert encoder is tried["float32"]
    assert tried["bfloat16"].closed


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_on_a_gpu_float32_follows_its_own_format_too(tried, monkeypatch, failure):
    monkeypatch.setattr(version_loader, "computes_in_bfloat16", lambda _: False)
    monkeypatch.setattr(version_loader, "runs_on_cpu", lambda _: False)
    tried["auto"] = failure

    assert tried["load"]()[1] is tried["float32"]
    assert tried["asked"] == ["auto", "float32"]


def test_what_fails_in_float32_too_is_an_error(tried):
    tried["bfloat16"], tried["float32"] = RuntimeError("first"), ModelLoadFailed("second")
    with pytest.raises(ModelLoadFailed, match="second"):
        tried["load"]()


def test_a_format_that_was_asked_for_is_the_only_one_tried(tried):
    tried["bfloat16"] = ModelLoadFailed("no")
    with pytest.raises(ModelLoadFailed, match="no"):
        tried["load"](compute_type="bfloat16")
    assert tried["asked"] == ["bfloat16"]


def test_a_version_whose_limit_is_past_its_positions_serves_what_it_can_and_says_so(tried, caplog):
    tried["bfloat16"].info = type(tried["bfloat16"].info)(8, 100)
    with caplog.at_level(logging.WARNING):
        assert tried["load"]()[1] is tried["bfloat16"]
    assert "published for texts of 128 tokens; it has positions for 100" in caplog.text
