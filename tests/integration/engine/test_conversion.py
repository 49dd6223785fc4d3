"""Converting in a process of its own: the export it makes, the errors that come back, and every way that it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime import export as exports
from munjang.encoder.postprocess import normalized
from munjang.engine import conversion
from munjang.engine.conversion import NICENESS, ConversionRequest, ConversionResult, ModelConverter
from munjang.errors import ModelLoadFailed, UnsupportedModel
from munjang.kinds import ModelKind
from munjang.testing_models import tiny_cross_encoder, tiny_model

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
WAIT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def instead(monkeypatch):
    """Run another program in the place of the one that converts."""

    def put(program):
        monkeypatch.setattr(conversion, "COMMAND", (sys.executable, "-c", program))

    return put


def options(path, **others):
    return LoadOptions(device="cpu", export=path / "exports" / "tiny", **others)


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    """Where a gentle conversion for int8 kept what it made."""
    place = tmp_path_factory.mktemp("converted")
    ModelConverter().convert(folder, options(place, compute_type="int8"), gently=True)
    return place


def test_an_export_is_made_that_gives_the_vectors_of_the_model(folder, converted):
    assert exports.read(converted / "exports" / "tiny") is not None
    found = encode(load_encoder(folder, options(converted)), TEXTS)
    expected = encode(load_encoder(folder, LoadOptions(device="cpu", runtime="torch")), TEXTS)
    assert np.einsum("ij,ij->i", normalized(found), normalized(expected)).min() >= 0.9999


def test_for_int8_the_exact_export_and_the_rounded_one_are_made(converted):
    assert {path.name for path in (converted / "exports").iterdir()} == {"tiny", "tiny-int8"}


def test_a_cross_encoder_is_converted_as_one(tmp_path):
    folder = tiny_cross_encoder(tmp_path / "m")
    ModelConverter().convert(folder, options(tmp_path, kind=ModelKind.CROSS_ENCODER), gently=False)
    kept = exports.read(tmp_path / "exports" / "tiny")
    assert kept is not None
    assert (kept.rules.kind, kept.rules.dimensions, kept.rules.packs) == (ModelKind.CROSS_ENCODER, 1, True)


def test_a_folder_that_is_no_model_gives_the_error_that_loading_it_gives(tmp_path):
    with pytest.raises(ModelLoadFailed, match="the model cannot be loaded"):
        ModelConverter().convert(tmp_path, options(tmp_path), gently=False)


def test_a_model_that_openvino_does_not_run_says_so(tmp_path):
    folder = tiny_model(tmp_path / "m", include_prompt=False)

    with pytest.raises(UnsupportedModel, match="pooling reads the whole text"):
        ModelConverter().convert(folder, options(tmp_path), gently=False)


def test_an_error_of_a_library_means_that_openvino_cannot_run_the_model():
    with pytest.raises(UnsupportedModel, match="no such operation"):
        ConversionResult.of(RuntimeError("no such operation")).check()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "by SIGKILL, as it does where memory is short"),
        ("raise SystemExit(3)", "with status 3"),
    ],
)
def test_a_process_that_ends_before_its_time_fails_the_load(folder, tmp_path, instead, program, reason):
    instead(program)

    with pytest.raises(ModelLoadFailed, match=reason):
        ModelConverter().convert(folder, options(tmp_path), gently=False)


def test_a_process_that_takes_too_long_is_ended(folder, tmp_path, instead):
    pid = tmp_path / "pid"
    instead(f"import os, threading; open({str(pid)!r}, 'w').write(str(os.getpid())); threading.Event().wait()")

    with pytest.raises(ModelLoadFailed, match="more than 2 s"):
        ModelConverter(seconds=2).convert(folder, options(tmp_path), gently=False)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_stopping_ends_the_process_and_lets_no_other_begin(folder, tmp_path, instead):
    os.mkfifo(tmp_path / "begun")
    instead(f"open({str(tmp_path / 'begun')!r}, 'w').close(); import threading; threading.Event().wait()")
    converting, said = ModelConverter(), []

    def convert():
        try:
            converting.convert(folder, options(tmp_path), gently=False)
        except ModelLoadFailed as error:
            said.append(str(error))

    thread = threading.Thread(target=convert)
    thread.start()
    (tmp_path / "begun").read_text()  # waits for the process to open it
    converting.stop()
    thread.join(WAIT)

    convert()
    assert said == ["converting the model was stopped"] * 2


def test_it_ends_with_its_program(folder, tmp_path):
    request = ConversionRequest.of(folder, options(tmp_path), gently=False)
    with subprocess.Popen(conversion.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        said, _ = child.communicate(request.model_dump_json().encode() + b"\n", timeout=WAIT)

    assert (child.returncode, said) == (1, b"")


@pytest.mark.parametrize(("gently", "niceness"), [(True, NICENESS), (False, 0)])
def test_only_beside_others_it_stands_behind_them(folder, tmp_path, gently, niceness):
    program = (
        "import os; from munjang.engine import conversion as child\n"
        "child._convert = lambda request: child.ConversionResult(message=str(os.getpriority(os.PRIO_PROCESS, 0)))\n"
        "child.main()"
    )
    request = ConversionRequest.of(folder, options(tmp_path, threads=2), gently=gently)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdin.write(request.model_dump_json().encode() + b"\n")
        child.stdin.flush()
        said = child.stdout.readline()

    assert ConversionResult.model_validate_json(said).message == str(os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    assert request.options().threads == (1 if gently else 2)
