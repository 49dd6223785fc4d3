"""The options of a request, from the protos' numbers to the core's own terms; unknown numbers are refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from munjang.encoder.postprocess import OutputOptions
from munjang.errors import InvalidOption, UnsupportedPrecision
from munjang.v1 import embedding_service_pb2 as embedding_pb2
from munjang.v1 import resources_pb2
from munjang.vectors import Precision

if TYPE_CHECKING:
    from munjang.v1.resources_pb2 import EncodeOptions

PRECISION_NUMBERS: Final[dict[Precision, resources_pb2.Precision.ValueType]] = {
    Precision.FLOAT32: resources_pb2.PRECISION_FLOAT32,
    Precision.FLOAT16: resources_pb2.PRECISION_FLOAT16,
    Precision.BFLOAT16: resources_pb2.PRECISION_BFLOAT16,
    Precision.INT8: resources_pb2.PRECISION_INT8,
    Precision.UBINARY: resources_pb2.PRECISION_UBINARY,
}
PRECISIONS: Final[dict[int, Precision]] = {
    resources_pb2.PRECISION_UNSPECIFIED: Precision.FLOAT32,
    **{number: precision for precision, number in PRECISION_NUMBERS.items()},
}
CUTS: Final[dict[int, bool]] = {
    resources_pb2.TRUNCATION_UNSPECIFIED: True,
    resources_pb2.TRUNCATION_END: True,
    resources_pb2.TRUNCATION_NONE: False,
}
MODES: Final[dict[int, int]] = {
    embedding_pb2.SIMILARITY_MODE_UNSPECIFIED: embedding_pb2.SIMILARITY_MODE_MATRIX,
    embedding_pb2.SIMILARITY_MODE_MATRIX: embedding_pb2.SIMILARITY_MODE_MATRIX,
    embedding_pb2.SIMILARITY_MODE_PAIRWISE: embedding_pb2.SIMILARITY_MODE_PAIRWISE,
    embedding_pb2.SIMILARITY_MODE_TOP_K: embedding_pb2.SIMILARITY_MODE_TOP_K,
}
SIMILARITY_FUNCTIONS: Final = {
    "cosine": resources_pb2.SIMILARITY_FUNCTION_COSINE,
    "dot": resources_pb2.SIMILARITY_FUNCTION_DOT,
    "euclidean": resources_pb2.SIMILARITY_FUNCTION_EUCLIDEAN,
    "manhattan": resources_pb2.SIMILARITY_FUNCTION_MANHATTAN,
}


def output_options(options: EncodeOptions) -> OutputOptions:
    """How the vectors shall come out.

    Raises:
        UnsupportedPrecision: a precision that this server does not know.
    """
    precision = PRECISIONS.get(options.precision)
    if precision is None:
        msg = f"unknown precision {options.precision}; there are {', '.join(PRECISION_NUMBERS)}"
        raise UnsupportedPrecision(msg, field="options.precision")
    normalize = options.normalize if options.HasField("normalize") else True
    return OutputOptions(dimensions=options.dimensions, normalize=normalize, precision=precision)


def cuts(truncation: int, field: str) -> bool:
    """Whether long texts are cut; False where they are refused.

    Raises:
        InvalidOption: a truncation that this server does not know.
    """
    cut = CUTS.get(truncation)
    if cut is None:
        msg = f"unknown truncation {truncation}; take TRUNCATION_END (1) or TRUNCATION_NONE (2)"
        raise InvalidOption(msg, field=field)
    return cut


def mode(number: int) -> int:
    """Which pairs are scored.

    Raises:
        InvalidOption: a mode that this server does not know.
    """
    known = MODES.get(number)
    if known is None:
        msg = f"unknown mode {number}; take SIMILARITY_MODE_MATRIX (1), _PAIRWISE (2) or _TOP_K (3)"
        raise InvalidOption(msg, field="mode")
    return known
