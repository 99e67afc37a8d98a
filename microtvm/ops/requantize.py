"""Requantisation as tensor expressions, in forms that are proven equal to the reference.

Reference: TensorFlow Lite's kernels. Convolutions, additions and most others round twice with a
31-bit multiplier (`MultiplyByQuantizedMultiplier`, gemmlowp); FULLY_CONNECTED multiplies by a
double and rounds once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtvm import te
from microtvm.ops.base import NodeContext
from microtvm.ops.quantize import quantize_multiplier
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, FloatImm, IntImm, Param, cast
from microtvm.util import Array

INT32_MAX = (1 << 31) - 1


def parameter(name: str, value: int) -> Expr:
    """A quantisation constant that nodes which share a kernel may differ in."""
    return Param(name, value)


def check_accumulator(
    ctx: NodeContext, products: Array, bias: Array, largest: int
) -> tuple[Array, Array]:
    """Smallest and largest accumulator of each channel; ModelError where int32 does not hold it.

    `products` is the sum of |w| of each channel, `largest` the largest |x| that a weight meets.
    """
    reach = products.astype(np.int64) * largest
    low, high = bias.astype(np.int64) - reach, bias.astype(np.int64) + reach
    if int(np.max(np.abs(bias.astype(np.int64)) + reach)) > INT32_MAX:
        channel = int(np.argmax(np.abs(bias.astype(np.int64)) + reach))
        raise ctx.fail(
            f"the accumulator of channel {channel} can exceed 32 bits",
            hint="the weights or the bias of this layer are far larger than training gives",
        )
    return low, high


NARROW = 1 << 30
"""Values below this have a shorter requantisation; see `requantize_narrow`."""


class Rescale:
    """value * ratio[channel], with TFLite's two roundings. One multiplier for all where they agree.

    `reach` is the largest |value| that can occur; it decides which form is used.
    """

    def __init__(self, ratios: Sequence[float] | Array, name: str, reach: int = INT32_MAX) -> None:
        pairs = [quantize_multiplier(float(r)) for r in np.asarray(ratios).ravel()]
        self.init(pairs, name, reach)

    def init(self, pairs: list[tuple[int, int]], name: str, reach: int) -> None:
        """Choose the form for multipliers and exponents."""
        exponents = [exponent for _, exponent in pairs]
        self.function = "requantize"
        if max(exponents) <= 0:
            self.function = "requantize_right"
        if reach < NARROW and max(exponents) <= -1 and min(exponents) >= -30:
            self.function = "requantize_narrow"
            pairs = [(m, -1 - e) for m, e in pairs]
        self.pairs = pairs
        self.single = len(set(pairs)) == 1
        if not self.single:
            self.mult: Tensor = te.constant(
                np.array([m for m, _ in pairs], np.int32), f"{name}_mult"
            )
            self.exponent: Tensor = te.constant(
                np.array([e for _, e in pairs], np.int8), f"{name}_shift"
            )
        self.name = name

    def factors(self, channel: Expr | None) -> tuple[Expr, Expr]:
        """Multiplier and exponent (or shift) of a channel."""
        if self.single:
            mult, exponent = self.pairs[0]
            return (
                parameter(f"{self.name}_mult", mult),
                parameter(f"{self.name}_shift", exponent),
            )
        assert channel is not None
        return self.mult[channel], self.exponent[channel].astype("int32")

    def __call__(self, value: Expr, channel: Expr | None = None, zero: int = 0) -> Expr:
        """The rescaled value plus the zero point of the result."""
        offset = parameter("zero_out", zero) if zero else IntImm(0)
        if self.function == "requantize_narrow":
            return te.call(self.function, value, *self.factors(channel), offset)
        return te.call(self.function, value, *self.factors(channel)) + offset


def saturate(value: Expr, low: int, high: int, dtype: str = "int8") -> Expr:
    """value clamped to low..high, as `dtype`."""
    if (dtype, low, high) == ("int8", -128, 127):
        return cast(dtype, te.call("saturate8", value))
    return cast(dtype, te.clip(value, parameter("low", low), parameter("high", high)))


def to_quantized(value: Expr, zero: int, low: int, high: int, dtype: str = "int8") -> Expr:
    """value + zero, clamped to low..high, as `dtype`."""
    return saturate(value + parameter("zero_out", zero), low, high, dtype)


def round_half_away(values: Array) -> Array:
    """Doubles to the nearest whole numbers, halves away from zero, exactly."""
    whole = np.trunc(values)
    rounded: Array = whole + np.sign(values) * (np.abs(values - whole) >= 0.5)
    return rounded


def single_rounding_holds(ratios: Array, low: Array, high: Array, first: int, last: int) -> bool:
    """Whether one rounding of the 31-bit product equals the reference's double product.

    Both are monotone in the accumulator, so they are equal over low..high if they step at the same
    accumulators: for each output level first < y <= last the smallest accumulator that reaches it
    is found by bisection of the reference, and the integer form must step exactly there. Outputs
    are before the zero point is added. Shapes: ratios, low, high [C].
    """
    pairs = [quantize_multiplier(float(r)) for r in ratios]
    if any(not -31 <= e <= 30 for _, e in pairs):
        return False
    if first >= last:
        return True
    mult = np.array([m for m, _ in pairs], np.int64)[:, None]
    shift = 31 - np.array([e for _, e in pairs], np.int64)[:, None]

    def reference(acc: Array) -> Array:
        return round_half_away(acc.astype(np.float64) * ratios[:, None])

    def integer(acc: Array) -> Array:
        product = acc * mult
        return (product + (np.int64(1) << (shift - 1)) - (product < 0)) >> shift

    levels = np.arange(first + 1, last + 1, dtype=np.int64)[None, :]
    shape = (len(ratios), levels.shape[1])
    below = np.broadcast_to(low[:, None] - 1, shape).copy()
    above = np.broadcast_to(high[:, None] + 1, shape).copy()
    while int(np.max(above - below)) > 1:
        middle = (below + above) >> 1
        reached = reference(middle) >= levels
        above = np.where(reached & (above - below > 1), middle, above)
        below = np.where(~reached & (above - below > 1), middle, below)
    reached_inside = above <= high[:, None]
    starts_above = above > low[:, None]
    at = integer(np.minimum(above, high[:, None])) >= levels
    before = integer(np.maximum(above - 1, low[:, None])) < levels
    return bool(np.all(~reached_inside | at) and np.all(~starts_above | before))


class RescaleOnce:
    """value * ratio[channel] as FULLY_CONNECTED does it: a double product, rounded once, half away.

    In 64-bit integers where that is proven equal for every channel, in doubles otherwise.
    """

    def __init__(
        self, ratios: Array, low: Array, high: Array, first: int, last: int, name: str
    ) -> None:
        self.proven = single_rounding_holds(ratios, low, high, first, last)
        self.integer = Rescale(ratios, name)
        self.first, self.last = first, last
        if not self.proven:
            self.ratios = te.constant(ratios.astype(np.float64), f"{name}_ratio")

    def __call__(self, value: Expr, channel: Expr, zero: int) -> Expr:
        """The rescaled accumulator plus the zero point of the result."""
        offset = parameter("zero_out", zero)
        if self.proven:
            return te.call("requantize_once", value, *self.integer.factors(channel)) + offset
        scaled = value.astype("float64") * self.ratios[channel]
        rounded = te.call("round_away", scaled)
        limited = te.clip(rounded, FloatImm(self.first, "float64"), FloatImm(self.last, "float64"))
        return limited.astype("int32") + offset
