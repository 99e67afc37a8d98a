"""Operators on one or two bytes as one line: (offset + sum of factor * x) >> shift, and limits.

The reference rounds each operand and then the sum, two roundings each. On operands of 8 bits there
are at most 65,536 cases, so that a single multiply-add for each operand can be searched for and
proven equal to the reference by trying them all.

The reference is F, all its outputs. A form is right if for every case, with L the sum of products,

    F * 2^shift <= offset + L < (F + 1) * 2^shift

where only the left side is asked at the upper limit, and only the right one at the lower. For given
factors and shift these are one interval of offsets, empty or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm import te
from microtvm.ops.requantize import INT32_MAX, parameter, saturate
from microtvm.tir.expr import Expr, IntImm, cast
from microtvm.util import Array

USUAL_SHIFT = 22
"""Tried first: nodes of one shift can share a function, in which it is part of an instruction."""

LARGEST_SHIFT = 24
TRIES = 6
"""Shifts that are tried: the usual one, then the largest that int32 has room for, downwards."""


@dataclass(frozen=True)
class LinearForm:
    """(offset + sum of factors[k] * x[k]) >> shift, limited to low..high; all sums fit int32."""

    offset: int
    factors: tuple[int, ...]
    shift: int
    low: int
    high: int

    def __call__(self, operands: Sequence[Expr], dtype: str) -> Expr:
        """The form of 8-bit elements, as `dtype`."""
        total = parameter("offset", self.offset)
        for name, factor, x in zip("ab", self.factors, operands, strict=False):
            total = total + parameter(f"factor_{name}", factor) * x.astype("int32")
        if dtype != "int8":
            return saturate(total >> self.shift, self.low, self.high, dtype)
        value = te.call("saturate8_shift", total, IntImm(self.shift))
        if self.low > -128:
            value = te.max(value, parameter("low", self.low))
        if self.high < 127:
            value = te.min(value, parameter("high", self.high))
        return cast(dtype, value)


def every_value(dtype: str) -> Array:
    """All elements of an 8-bit type in ascending order, as int64."""
    info = np.iinfo(dtype)
    return np.arange(info.min, info.max + 1, dtype=np.int64)


def linear_form(
    reference: Callable[..., Array],
    slopes: Sequence[float],
    dtypes: Sequence[str],
    limits: tuple[int, int],
) -> LinearForm | None:
    """The form that equals `reference` for all elements of its one or two operands, or None.

    `reference` takes an int64 array for each operand, which broadcast, and returns its outputs
    within `limits`. `slopes` are what an output changes by with each operand, about; `dtypes` the
    operands' types, of 8 bits.
    """
    low, high = limits
    grids = np.meshgrid(*(every_value(d) for d in dtypes), indexing="ij", sparse=True)
    outputs = np.broadcast_to(reference(*grids), [g.size for g in grids]).astype(np.int64)
    reach = [int(np.max(np.abs(g))) for g in grids]
    room = sum(abs(s) * r for s, r in zip(slopes, reach, strict=True))
    if not all(np.isfinite(s) for s in slopes) or room * 2 > INT32_MAX:
        return None
    bounded_below, bounded_above = outputs > low, outputs < high
    largest = LARGEST_SHIFT
    while largest > 1 and room * (1 << largest) > INT32_MAX:
        largest -= 1
    shifts = dict.fromkeys([USUAL_SHIFT, *range(largest, 0, -1)])
    for shift in [s for s in shifts if s <= largest][:TRIES]:
        first, last = outputs << shift, ((outputs + 1) << shift) - 1
        nearest = [round(s * (1 << shift)) for s in slopes]
        for change in _NEAR[len(slopes)]:
            factors = tuple(n + d for n, d in zip(nearest, change, strict=True))
            products = sum(f * g for f, g in zip(factors, grids, strict=True))
            least = np.max(first - products, where=bounded_below, initial=-INT32_MAX)
            most = np.min(last - products, where=bounded_above, initial=INT32_MAX)
            offset = min(max(0, int(least)), int(most))
            span = sum(abs(f) * r for f, r in zip(factors, reach, strict=True))
            if least <= offset and span + abs(offset) <= INT32_MAX:
                return LinearForm(offset, factors, shift, low, high)
    return None


_NEAR = {
    count: sorted(itertools.product((0, 1, -1), repeat=count), key=lambda c: sum(map(abs, c)))
    for count in (1, 2)
}
"""Changes of the rounded factors, the smallest first."""
