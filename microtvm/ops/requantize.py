"""Requantisation as tensor expressions, in forms that are proven equal to the reference.

Reference: TensorFlow Lite's kernels. Convolutions, additions and most others round twice with a
31-bit multiplier (`MultiplyByQuantizedMultiplier`, gemmlowp); FULLY_CONNECTED multiplies by a
double and rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm import te
from microtvm.ops.base import NodeContext
from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.rounding import divide_by_power
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, FloatImm, IntImm, Param, cast
from microtvm.tir.intrinsic import NARROW_SHIFT, NARROW_VALUE, SHORT_FORMS
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


@dataclass(frozen=True, eq=False)
class Reach:
    """What can occur: accumulators low..high of each channel [C], outputs first..last before the
    zero point is added (what lies beyond is clamped to them)."""

    low: Array
    high: Array
    first: int
    last: int

    @property
    def largest(self) -> int:
        """The largest |accumulator|."""
        return int(max(self.high.max(), -self.low.min()))


class Rescale:
    """value * ratio[channel], with TFLite's two roundings. One multiplier for all where they agree.

    `reach` is the largest |value| that can occur, or a `Reach`, from which the shortest form that
    is proven equal is taken.
    """

    def __init__(
        self, ratios: Sequence[float] | Array, name: str, reach: int | Reach = INT32_MAX
    ) -> None:
        pairs = [quantize_multiplier(float(r)) for r in np.asarray(ratios).ravel()]
        self.init(pairs, name, reach)

    def init(self, pairs: list[tuple[int, int]], name: str, reach: int | Reach) -> None:
        """Choose the form for multipliers and exponents."""
        exponents = [exponent for _, exponent in pairs]
        self.function = "requantize"
        if max(exponents) <= 0:
            self.function = "requantize_right"
        if isinstance(reach, Reach):
            found = _short_form(pairs, reach)
            if found is not None:
                self.use(*found, name)
                return
        elif _is_short(pairs, reach):
            self.use("requantize_narrow", [(m, -1 - e) for m, e in pairs], name)
            return
        self.use(self.function, pairs, name)

    def use(self, function: str, pairs: list[tuple[int, int]], name: str) -> None:
        """Take the intrinsic of that name, with these second and third arguments."""
        self.function, self.pairs = function, pairs
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
        if self.function in SHORT_FORMS:
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


def _is_short(pairs: list[tuple[int, int]], largest: int) -> bool:
    """Whether the short forms take these multipliers, and values up to `largest`."""
    low, high = NARROW_SHIFT
    return largest <= NARROW_VALUE[1] and all(low <= -1 - e <= high for _, e in pairs)


Form = Callable[[Array], Array]
"""A monotone function of accumulators [C, n], channel by channel."""


def steps_equal(reference: Form, candidate: Form, reach: Reach) -> bool:
    """Whether two monotone forms agree, once clamped, on all accumulators that can occur.

    They do if they step at the same accumulators: for each output level first < y <= last the
    smallest accumulator that reaches it is found by bisection of the reference, and the candidate
    must step exactly there.
    """
    low, high, first, last = reach.low, reach.high, reach.first, reach.last
    if first >= last:
        return True
    levels = np.arange(first + 1, last + 1, dtype=np.int64)[None, :]
    shape = (len(low), levels.shape[1])
    below = np.broadcast_to(low[:, None] - 1, shape).copy()
    above = np.broadcast_to(high[:, None] + 1, shape).copy()
    while int(np.max(above - below)) > 1:
        middle = (below + above) >> 1
        reached = reference(middle) >= levels
        above = np.where(reached & (above - below > 1), middle, above)
        below = np.where(~reached & (above - below > 1), middle, below)
    reached_inside = above <= high[:, None]
    starts_above = above > low[:, None]
    at = candidate(np.minimum(above, high[:, None])) >= levels
    before = candidate(np.maximum(above - 1, low[:, None])) < levels
    return bool(np.all(~reached_inside | at) and np.all(~starts_above | before))


def _factors(pairs: list[tuple[int, int]]) -> tuple[Array, Array]:
    """Multipliers and exponents as int64 [C, 1]."""
    mult, exponent = np.array(pairs, np.int64).T[:, :, None]
    return mult, exponent


def _short_form(
    pairs: list[tuple[int, int]], reach: Reach
) -> tuple[str, list[tuple[int, int]]] | None:
    """The shortest form that equals two roundings for what can occur, with its multipliers and
    shifts; None if there is none."""
    # What is scaled down beyond the short forms' shifts mostly can't leave zero.
    least = -1 - NARROW_SHIFT[1]
    tried = [(m, e) if m and e >= least else (0, -1) for m, e in pairs]
    if not _is_short(tried, reach.largest):
        return None
    channels = (len(reach.low), 1)
    original, wanted = (np.broadcast_to(v, channels) for v in _factors(pairs))
    mult, exponent = (np.broadcast_to(v, channels) for v in _factors(tried))

    def high_word(acc: Array, by: Array) -> Array:
        product: Array = (acc * by + (1 << 30)) >> 31
        return product

    def reference(acc: Array) -> Array:
        left = acc << np.maximum(wanted, 0)
        return divide_by_power(high_word(left, original), np.maximum(-wanted, 0))

    def narrow(acc: Array) -> Array:
        return divide_by_power(high_word(acc, mult), -exponent)

    def up(acc: Array) -> Array:
        rounded: Array = (high_word(acc, mult) + (np.int64(1) << (-1 - exponent))) >> -exponent
        return rounded

    for function, candidate in (("requantize_up", up), ("requantize_narrow", narrow)):
        if steps_equal(reference, candidate, reach):
            return function, [(m, -1 - e) for m, e in tried]
    return None


def _double_product(ratios: Array) -> Form:
    """FULLY_CONNECTED's own: a double product, rounded once, half away."""
    return lambda acc: round_half_away(acc.astype(np.float64) * ratios[:, None])


def _floor_holds(ratios: Array, pairs: list[tuple[int, int]], reach: Reach) -> bool:
    """Whether one rounding, half up, of the 31-bit product equals the double product."""
    mult, exponent = _factors(pairs)

    def candidate(acc: Array) -> Array:
        rounded: Array = (acc * mult + (np.int64(1) << (30 - exponent))) >> (31 - exponent)
        return rounded

    return steps_equal(_double_product(ratios), candidate, reach)


def single_rounding_holds(ratios: Array, low: Array, high: Array, first: int, last: int) -> bool:
    """Whether one rounding, half away, of the 31-bit product equals the double product.

    Shapes: ratios, low, high [C]; the other arguments as `Reach` has them.
    """
    pairs = [quantize_multiplier(float(r)) for r in ratios]
    if any(not -31 <= e <= 30 for _, e in pairs):
        return False
    mult, exponent = _factors(pairs)
    shift = 31 - exponent

    def integer(acc: Array) -> Array:
        product = acc * mult
        rounded: Array = (product + (np.int64(1) << (shift - 1)) - (product < 0)) >> shift
        return rounded

    return steps_equal(_double_product(ratios), integer, Reach(low, high, first, last))


class RescaleOnce:
    """value * ratio[channel] as FULLY_CONNECTED does it: a double product, rounded once, half away.

    In 64-bit integers where that is proven equal for every channel, in doubles otherwise.
    """

    def __init__(
        self, ratios: Array, low: Array, high: Array, first: int, last: int, name: str
    ) -> None:
        pairs = [quantize_multiplier(float(r)) for r in ratios]
        reach = Reach(low, high, first, last)
        self.integer = Rescale(ratios, name)
        if _is_short(pairs, reach.largest) and _floor_holds(ratios, pairs, reach):
            self.integer.use("requantize_floor", [(m, -1 - e) for m, e in pairs], name)
        self.proven = self.integer.function == "requantize_floor" or single_rounding_holds(
            ratios, low, high, first, last
        )
        self.first, self.last = first, last
        if not self.proven:
            self.ratios = te.constant(ratios.astype(np.float64), f"{name}_ratio")

    def __call__(self, value: Expr, channel: Expr, zero: int) -> Expr:
        """The rescaled accumulator plus the zero point of the result."""
        offset = parameter("zero_out", zero)
        if self.integer.function == "requantize_floor":
            return self.integer(value, channel, zero)
        if self.proven:
            return te.call("requantize_once", value, *self.integer.factors(channel)) + offset
        scaled = value.astype("float64") * self.ratios[channel]
        rounded = te.call("round_away", scaled)
        limited = te.clip(
            rounded, FloatImm(float(self.first), "float64"), FloatImm(float(self.last), "float64")
        )
        return limited.astype("int32") + offset
