"""Vectors as bytes: the precisions, and packing to and from little-endian rows. Knows no model and no transport."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from munjang.errors import UnsupportedPrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Precision(StrEnum):
    """The number format of a vector's components; the values are what users write."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    UBINARY = "ubinary"


def row_bytes(dimensions: int, precision: Precision) -> int:
    """The length in bytes of one packed row."""
    match precision:
        case Precision.FLOAT32:
            return 4 * dimensions
        case Precision.FLOAT16 | Precision.BFLOAT16:
            return 2 * dimensions
        case Precision.INT8:
            return dimensions
        case Precision.UBINARY:
            return (dimensions + 7) // 8


def pack(rows: NDArray[np.float32], precision: Precision, scale: float = 0.0) -> bytes:
    """Pack float32 rows [n, d] into little-endian bytes, row by row.

    `scale` is the value of one int8 step; it must be above zero for int8 and is ignored otherwise.

    Raises:
        UnsupportedPrecision: int8 without a scale.
    """
    match precision:
        case Precision.FLOAT32:
            return rows.astype("<f4", copy=False).tobytes()
        case Precision.FLOAT16:
            return rows.astype("<f2").tobytes()
        case Precision.BFLOAT16:
            return _to_bfloat16(rows).tobytes()
        case Precision.INT8:
            return quantize_int8(rows, scale).tobytes()
        case Precision.UBINARY:
            return np.packbits(rows > 0, axis=-1).tobytes()


def unpack(data: bytes, count: int, dimensions: int, precision: Precision) -> NDArray[np.generic]:
    """Read packed rows back as an array.

    Returns float32 [n, d] for float32 and bfloat16, float16 [n, d] for float16, int8 [n, d] for int8 and
    uint8 [n, ceil(d / 8)] for ubinary. The float32 and one-byte arrays are read-only views of `data`.

    Raises:
        ValueError: `data` is not exactly `count` rows long.
    """
    if len(data) != count * row_bytes(dimensions, precision):
        msg = f"{len(data)} bytes are not {count} rows of {dimensions} {precision} components"
        raise ValueError(msg)
    match precision:
        case Precision.FLOAT32:
            return np.frombuffer(data, "<f4").reshape(count, dimensions)
        case Precision.FLOAT16:
            return np.frombuffer(data, "<f2").reshape(count, dimensions)
        case Precision.BFLOAT16:
            wide = np.frombuffer(data, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(count, dimensions)
        case Precision.INT8:
            return np.frombuffer(data, np.int8).reshape(count, dimensions)
        case Precision.UBINARY:
            return np.frombuffer(data, np.uint8).reshape(count, (dimensions + 7) // 8)


def quantize_int8(rows: NDArray[np.float32], scale: float) -> NDArray[np.int8]:
    """Round float32 [n, d] to int8 steps of `scale`, clipped to −127…127, so that `q * scale` is near the row.

    One symmetric scale for all components keeps the direction: dot products of int8 rows rank as those of the rows do.

    Raises:
        UnsupportedPrecision: the scale is not above zero.
    """
    if scale <= 0:
        msg = "int8 needs a calibration, and this model version was published without one"
        raise UnsupportedPrecision(msg, field="options.precision")
    steps: NDArray[np.int8] = np.clip(np.rint(rows / np.float32(scale)), -127, 127).astype(np.int8)
    return steps


def _to_bfloat16(rows: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32 values, rounded to nearest even; values must be finite."""
    bits = np.ascontiguousarray(rows, "<f4").view("<u4")
    rounded = bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))
    return (rounded >> 16).astype("<u2")
