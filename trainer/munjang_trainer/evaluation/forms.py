"""The forms that a model's vectors can take: cut to fewer dimensions, in another number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.postprocess import OutputOptions, finish
from munjang.vectors import Precision, pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Form:
    """A cut and a precision; `name` is "" for the plain form, the whole vector in float32."""

    dimensions: int = 0
    precision: Precision = Precision.FLOAT32

    @property
    def name(self) -> str:
        """The form as metrics name it: "", "int8", "128d" or "128d.int8"."""
        parts = [f"{self.dimensions}d"] if self.dimensions else []
        parts += [str(self.precision)] if self.precision is not Precision.FLOAT32 else []
        return ".".join(parts)

    def apply(self, raw: NDArray[np.float32], int8_scale: float) -> NDArray[np.float32]:
        """Raw vectors [n, D] as a caller receives them in this form, read back as float32 [n, d].

        The plain form stays as the model gives it, not normalised, so that dot products differ from cosines where they
        do. Binary components come out as −1 and 1.
        """
        if not self.name:
            return raw
        rows = finish(raw, OutputOptions(dimensions=self.dimensions, precision=self.precision))
        width = rows.shape[1]
        back = unpack(pack(rows, self.precision, int8_scale), len(rows), width, self.precision)
        if self.precision is Precision.UBINARY:
            bits = np.unpackbits(back.astype(np.uint8), axis=1)[:, :width]
            return bits.astype(np.float32) * 2 - 1
        return back.astype(np.float32)


PLAIN = Form()


def forms_of(dimensions: tuple[int, ...], precisions: tuple[Precision, ...], int8_scale: float) -> list[Form]:
    """The plain form, each precision that the model can give, and each cut."""
    able = [p for p in precisions if p is not Precision.FLOAT32 and (p is not Precision.INT8 or int8_scale > 0)]
    return [PLAIN, *(Form(precision=precision) for precision in able), *(Form(dimensions=cut) for cut in dimensions)]
