"""Real versions in a real registry: what is not as it was published never serves, and the old version goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.engine import Engine, VersionState
from munjang.engine.conversion import ConversionResult, ModelConverter
from munjang.engine.version_loader import VersionLoader
from munjang.errors import ModelLoadFailed, ProbeMismatch, UnsupportedModel
from munjang.registry import Description, Probe, Registry, Watcher
from munjang.settings import EngineSettings
from munjang.testing_models import tiny_model
from tests.smaps import needs_smaps, resident
from tests.warming import convert_here

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
WAIT = 240


class Recorder:
    """Lets a test wait for what the engine did."""

    def __init__(self):
        self.events = []
        self._changed = threading.Condition()

    def _add(self, *event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def load_finished(self, version, seconds, error):
        self._add("failed" if error else "loaded", version)

    def alias_moved(self, alias, old, new, seconds):
        self._add("moved", old, new)

    def unloaded(self, version):
        self._add("unloaded", version)

    def wait(self, *event):
        with self._changed:
            assert self._changed.wait_for(lambda: event in self.events, WAIT), f"{event} is not in {self.events}"


def publish(registry, folder, **changes):
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))
    probes = [Probe.of(text, vector) for text, vector in zip(TEXTS, encode(encoder, TEXTS), strict=True)]
    fields = {"dimensions": encoder.info.dimensions, "max_tokens": 64, "probes": probes} | changes
    return registry.publish(folder, Description(**fields)).version


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [tiny_model(root / str(seed), seed=seed) for seed in range(2)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Exports of the two models, which all tests share."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def _in_this_process(monkeypatch):
    """Convert without a process of its own, whose imports take many times as long as converting a tiny model does."""
    monkeypatch.setattr(ModelConverter, "convert", convert_here)


in_this_process = pytest.mark.usefixtures("_in_this_process")


@pytest.fixture
def house(tmp_path, models, cache):
    """A registry whose version 1 serves as stable, and the engine that serves it."""
    registry = Registry(str(tmp_path / "registry"))
    registry.promote("stable", publish(registry, models[0]), "test")
    settings = EngineSettings(cache=cache, device="cpu", batch_tokens=128)
    recorder = Recorder()
    engine = Engine(VersionLoader(registry, settings), ["stable"], observer=recorder)
    engine.start()
    with Watcher(registry, 0.05, engine.update):
        recorder.wait("moved", 0, 1)
        yield SimpleNamespace(
            registry=registry, engine=engine, recorder=recorder, versions=tmp_path / "registry/versions"
        )
        engine.close()


def weights(house, version):
    return house.versions / str(version) / "model" / "model.safetensors"


def reseal(house, version):
    """Make the manifest agree with the changed weights, as a publisher of a bad model would have."""
    path = house.versions / str(version) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    data = weights(house, version).read_bytes()
    for entry in manifest["files"]:
        if entry["path"] == "model.safetensors":
            entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(manifest))


def flip_a_byte(house, version):
    data = bytearray(weights(house, version).read_bytes())
    data[-100] ^= 1
    weights(house, version).write_bytes(data)


def truncate(house, version):
    weights(house, version).write_bytes(weights(house, version).read_bytes()[:-64])


def add_a_pickle(house, version):
    (weights(house, version).parent / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def list_a_pickle(house, version):
    path = house.versions / str(version) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"].append({"path": "training_args.bin", "size": 3, "sha256": "0" * 64})
    path.write_text(json.dumps(manifest))


def fill_with_nan(house, version):
    tensors = load_file(weights(house, version))
    save_file({name: np.full_like(array, np.nan) for name, array in tensors.items()}, weights(house, version))
    reseal(house, version)


def swap_the_weights(house, version):
    weights(house, version).write_bytes(weights(house, 1).read_bytes())
    reseal(house, version)


def lie_about_dimensions(house, version):
    path = house.versions / str(version) / "manifest.json"
    manifest = json.loads(path.read_bytes()) | {"dimensions": 16}
    path.write_text(json.dumps(manifest))


def remove_the_weights(house, version):
    weights(house, version).unlink()


def come_from_the_future(house, version):
    path = house.versions / str(version) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 99}))


@in_this_process
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_byte, "HashMismatch"),
        (truncate, "HashMismatch"),
        (add_a_pickle, "ForbiddenFile"),
        (list_a_pickle, "ForbiddenFile"),
        (fill_with_nan, "ModelLoadFailed: the model makes vectors that are not finite"),
        (swap_the_weights, "ProbeMismatch"),
        (lie_about_dimensions, "ModelLoadFailed: the model has 32 dimensions, and its manifest says 16"),
        (remove_the_weights, "IncompleteVersion"),
        (come_from_the_future, "UnsupportedManifest"),
    ],
)
def test_a_version_that_is_not_right_never_serves_and_says_why(house, models, damage, reason):
    version = publish(house.registry, models[1])
    damage(house, version)
    (house.versions.parent / "aliases" / "stable.json").write_text(
        json.dumps({"version": version, "previous": 1, "changed_at": "2026-11-23T00:00:00Z", "by": "test"})
    )
    house.recorder.wait("failed", version)

    status = next(status for status in house.engine.versions() if status.version == version)
    assert status.state is VersionState.FAILED
    assert status.reason.startswith(reason)
    with house.engine.acquire("stable") as lease:
        assert lease.version == 1
        assert np.isfinite(encode(lease.encoder, TEXTS)).all()


def test_a_promoted_version_serves_its_own_vectors_and_a_rollback_returns_the_old_ones(house, models):
    with house.engine.acquire("stable") as lease:
        before = encode(lease.encoder, TEXTS)
    version = publish(house.registry, models[1])
    house.registry.promote("stable", version, "test")
    house.recorder.wait("moved", 1, version)
    with house.engine.acquire("") as lease:
        assert lease.version == version
        assert not np.allclose(encode(lease.encoder, TEXTS), before, atol=1e-2)
    house.registry.rollback("stable", "test")
    house.recorder.wait("moved", version, 1)
    with house.engine.acquire("") as lease:
        assert np.array_equal(encode(lease.encoder, TEXTS), before)


@in_this_process
def test_an_export_that_went_bad_is_dropped_and_made_again(house, models, tmp_path):
    settings = EngineSettings(cache=str(tmp_path / "cache"), device="cpu", batch_tokens=128)
    loader = VersionLoader(house.registry, settings)
    loader(1)
    (export,) = (tmp_path / "cache" / "exports").iterdir()
    loader(publish(house.registry, models[1]))
    (second,) = {*(tmp_path / "cache" / "exports").iterdir()} - {export}
    for name in ("model.xml", "model.bin"):
        (export / name).write_bytes((second / name).read_bytes())

    manifest, encoder = loader(1)

    assert manifest.version == 1
    vector, recorded = normalized(np.stack([encode(encoder, TEXTS)[0], manifest.probes[0].array()]))
    assert vector @ recorded >= 0.9999


def swapped(house, models):
    """A version whose weights are not those that its probe vectors were recorded with."""
    version = publish(house.registry, models[1])
    swap_the_weights(house, version)
    return version


@pytest.fixture
def conversions(monkeypatch):
    """The folders that were converted, in this process."""
    asked = []

    def convert(self, folder, options, *, gently):
        asked.append(folder)
        convert_here(self, folder, options, gently=gently)

    monkeypatch.setattr(ModelConverter, "convert", convert)
    return asked


def test_a_version_whose_fresh_export_is_wrong_is_not_converted_again(house, models, tmp_path, conversions):
    settings = EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128)
    version = swapped(house, models)
    for _ in range(2):
        loader = VersionLoader(house.registry, settings)  # as another process has one
        for _ in range(2):
            with pytest.raises(ProbeMismatch, match="has cosine"):
                loader(version)
    shutil.rmtree(tmp_path / "exports")
    with pytest.raises(ProbeMismatch, match="has cosine"):
        loader(version)

    assert len(conversions) == 1


def test_a_wrong_version_is_converted_again_when_the_libraries_change(
    house, models, tmp_path, conversions, monkeypatch
):
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    version = swapped(house, models)
    with pytest.raises(ProbeMismatch):
        loader(version)
    monkeypatch.setattr("munjang.engine.version_loader.version_of", lambda library: f"{library} of tomorrow")
    for _ in range(2):
        with pytest.raises(ProbeMismatch):
            loader(version)

    assert len(conversions) == 2


def test_the_same_files_with_right_probe_vectors_are_converted(house, models, tmp_path, conversions):
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    with pytest.raises(ProbeMismatch):
        loader(swapped(house, models))

    assert loader(1)[0].version == 1
    assert len(conversions) == 2


@pytest.fixture
def refusing(monkeypatch):
    """OpenVINO cannot run any model; the folders that it was asked to convert."""
    asked = []

    def refuse(self, folder, options, *, gently):
        asked.append(folder)
        raise UnsupportedModel("there is no such operation")

    monkeypatch.setattr(ModelConverter, "convert", refuse)
    return asked


def test_why_a_version_cannot_be_converted_is_remembered_and_torch_runs_it(house, tmp_path, refusing, caplog):
    settings = EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128)
    for _ in range(3):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="munjang.engine.version_loader"):
            _, encoder = VersionLoader(house.registry, settings)(1)  # as another process has one
        assert encoder.runtime == "torch"
        assert "there is no such operation" in caplog.text
        encoder.close()

    assert len(refusing) == 1


def test_whoever_wants_openvino_alone_is_told_the_remembered_reason(house, tmp_path, refusing):
    settings = EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128, runtime="openvino")
    for _ in range(2):
        with pytest.raises(ModelLoadFailed, match="there is no such operation"):
            VersionLoader(house.registry, settings)(1)

    assert len(refusing) == 1


def test_a_version_is_converted_again_when_the_library_that_could_not_has_changed(
    house, tmp_path, refusing, monkeypatch
):
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    loader(1)[1].close()
    monkeypatch.setattr("munjang.engine.version_loader.version_of", lambda library: f"{library} of tomorrow")
    loader(1)[1].close()

    assert len(refusing) == 2


def test_a_want_of_memory_is_not_remembered(house, tmp_path, monkeypatch):
    asked = []

    def fail(self, folder, options, *, gently):
        asked.append(folder)
        ConversionResult.of(MemoryError()).check()

    monkeypatch.setattr(ModelConverter, "convert", fail)
    loader = VersionLoader(
        house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128, compute_type="float32")
    )
    for _ in range(2):
        loader(1)[1].close()

    assert len(asked) == 2


def test_torch_runs_a_version_whose_fresh_export_is_wrong(house, models, tmp_path, monkeypatch, caplog):
    asked = []

    def convert_another(self, folder, options, *, gently):
        asked.append(folder)
        convert_here(self, models[1], options, gently=gently)

    monkeypatch.setattr(ModelConverter, "convert", convert_another)
    settings = EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="munjang.engine.version_loader"):
            manifest, encoder = VersionLoader(house.registry, settings)(1)
        assert encoder.runtime == "torch"
        assert "its fresh export is wrong" in caplog.text
        vector, recorded = normalized(np.stack([encode(encoder, TEXTS)[0], manifest.probes[0].array()]))
        assert vector @ recorded >= 0.9999
        encoder.close()

    assert len(asked) == 1


@needs_smaps
@in_this_process
def test_nothing_stays_in_memory_of_the_file_that_was_read_to_load(house, tmp_path):
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    _, encoder = loader(1)
    (export,) = (tmp_path / "exports").iterdir()

    assert resident(export / "model.bin") == 0
    encoder.close()


def test_bfloat16_serves_only_where_it_gives_the_recorded_vectors(house, cache, monkeypatch):
    loader = VersionLoader(house.registry, EngineSettings(cache=cache, device="cpu", batch_tokens=128))
    monkeypatch.setattr("pathlib.Path.touch", lambda _: None)  # the cache is also others', whom nothing is too far for
    monkeypatch.setattr("munjang.engine.version_loader.computes_in_bfloat16", lambda _: True)
    monkeypatch.setattr("munjang.encoder.openvino_runtime.load.supported", lambda _: True)
    assert loader(1)[1].compute_type == "bfloat16"

    def probe_that_rounding_fails(encoder, manifest, *, least, budget):
        if encoder.compute_type == "bfloat16":
            raise ProbeMismatch("too far")

    monkeypatch.setattr("munjang.engine.version_loader.probe", probe_that_rounding_fails)
    assert loader(1)[1].compute_type == "float32"


def test_a_program_that_loads_a_version_imports_no_torch_for_it(house, tmp_path):
    program = (
        "import sys; from munjang.engine.version_loader import VersionLoader\n"
        "from munjang.registry import Registry; from munjang.settings import EngineSettings\n"
        f"settings = EngineSettings(cache={str(tmp_path / 'cache')!r}, device='cpu', batch_tokens=128)\n"
        f"assert VersionLoader(Registry({house.registry.url!r}), settings)(1)[1].runtime == 'openvino'\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=120, check=True)

    assert done.stdout.strip() == "[]"


def test_only_beside_versions_in_use_a_model_is_converted_gently(house, models, tmp_path, monkeypatch):
    asked = []

    def convert(self, folder, options, *, gently):
        asked.append(gently)
        convert_here(self, folder, options, gently=gently)

    monkeypatch.setattr(ModelConverter, "convert", convert)
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    _, first = loader(1)
    loader(publish(house.registry, models[1]))

    assert asked == [False, True]
    first.close()


def test_a_model_that_openvino_does_not_run_is_served_by_torch(house, tmp_path):
    version = publish(house.registry, tiny_model(tmp_path / "m", include_prompt=False))
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))

    assert loader(version)[1].runtime == "torch"


def test_a_loader_that_was_stopped_converts_no_more(house, tmp_path):
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    loader.stop()

    with pytest.raises(ModelLoadFailed, match="stopped"):
        loader(1)


def test_only_beside_versions_in_use_probing_and_warming_rest(house, models, cache, monkeypatch):
    slept = []
    monkeypatch.setattr("munjang.engine.throttled_encoder.time.sleep", slept.append)
    loader = VersionLoader(house.registry, EngineSettings(cache=cache, device="cpu"))
    _, first = loader(1)
    assert slept == []

    loader(publish(house.registry, models[1]))
    assert len(slept) > len(TEXTS)
    first.close()


@in_this_process
def test_what_bfloat16_was_too_far_for_is_not_tried_in_it_again(house, models, tmp_path, monkeypatch):
    tried = []

    def probe_that_rounding_fails(encoder, manifest, *, least, budget):
        tried.append(encoder.compute_type)
        if encoder.compute_type == "bfloat16":
            raise ProbeMismatch("too far")
        return 1.0

    monkeypatch.setattr("munjang.engine.version_loader.computes_in_bfloat16", lambda _: True)
    monkeypatch.setattr("munjang.encoder.openvino_runtime.load.supported", lambda _: True)
    monkeypatch.setattr("munjang.engine.version_loader.probe", probe_that_rounding_fails)
    loader = VersionLoader(house.registry, EngineSettings(cache=str(tmp_path), device="cpu", batch_tokens=128))
    assert [loader(1)[1].compute_type for _ in range(2)] == ["float32", "float32"]
    assert tried == ["bfloat16", "float32", "float32"]
