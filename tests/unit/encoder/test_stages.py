"""A long forward that pauses gives the same vectors, and what runs in its pauses does not disturb it."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.encoder import export as exports
from munjang.encoder.contract import Tokens
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.stages import PARTS, STATE, stages
from munjang.testing_models import tiny_model

LONG = Tokens(tuple(5 + step % 90 for step in range(120)))
SHORT = Tokens((5, 6, 7, 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_tokens=128)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return tmp_path_factory.mktemp("cache") / "exports" / "tiny"


@pytest.fixture(scope="module")
def encoder(folder, export):
    return load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", export=export, interactive=True))


def test_there_is_a_part_for_each_layer_of_a_small_model(encoder):
    assert encoder.parts == 2 <= PARTS


def test_a_long_forward_pauses_between_its_parts_and_gives_the_same_vector(encoder):
    pauses = []
    found = encoder.forward([LONG], lambda: pauses.append(1))

    assert len(pauses) == encoder.parts - 1
    assert np.allclose(found, encoder.forward([LONG]), atol=1e-5)


def test_other_forwards_in_a_pause_leave_it_as_it_was(encoder):
    expected, between = encoder.forward([LONG, LONG]), []

    def other():
        between.append(encoder.forward([SHORT, LONG, SHORT]))

    found = encoder.forward([LONG, LONG], other)

    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(between[0], encoder.forward([SHORT, LONG, SHORT]), atol=1e-5)


def test_a_forward_of_several_frames_pauses_between_them_too(encoder):
    pauses = []
    encoder.forward([LONG, *[Tokens((5,) * 60)] * 3], lambda: pauses.append(1))

    assert len(pauses) == 2 * encoder.parts - 1


def test_a_short_forward_does_not_pause(encoder):
    pauses = []
    encoder.forward([SHORT] * 3, lambda: pauses.append(1))

    assert not pauses


def test_what_a_pause_raises_goes_through(encoder):
    def fail():
        msg = "no"
        raise LookupError(msg)

    with pytest.raises(LookupError):
        encoder.forward([LONG], fail)
    assert encoder.forward([LONG]).shape == (1, 32)


def test_int8_pauses_as_well(folder, export):
    encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="int8", export=export, interactive=True))

    assert encoder.parts == 2
    assert np.allclose(encoder.forward([LONG], lambda: None), encoder.forward([LONG]), atol=1e-4)


def test_who_does_not_ask_for_pauses_has_none(folder, export, encoder):
    plain = load_encoder(folder, LoadOptions(device="cpu", export=export))
    pauses = []
    plain.forward([LONG], lambda: pauses.append(1))

    assert plain.parts == 1
    assert not pauses


def test_a_single_layer_is_not_cut(export, encoder):
    found = exports.read(export)
    names = [sorted(set().union(*(place.get_names() for place in stage.inputs))) for stage in stages(found.graph)]

    assert STATE not in names[0]
    assert STATE in names[1]
    first = stages(found.graph)[0]
    assert stages(first) == []  # one layer is left
