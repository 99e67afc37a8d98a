"""SOFTMAX over the last axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, Views, attributes
from microtvm.ops.expression import result
from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.requantize import INT32_MAX, parameter
from microtvm.ops.rounding import divide_by_power, high_multiply
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.dtype import dtype_range
from microtvm.tir.expr import Expr, FloatImm, IntImm, cast
from microtvm.util import Array

DTYPES = ("int8", "uint8", "float32")
MAX_CLASSES = 4095
"""More could overflow the sum, which has 12 integer bits."""

EXP_FACTORS = (
    (24, 1672461947),
    (25, 1302514674),
    (26, 790015084),
    (27, 290630308),
    (28, 39332535),
    (29, 720401),
    (30, 242),
)
"""Bit of a Q5.26 number, and exp(-2^(bit - 26)) in Q0.31."""


class Softmax(Op):
    """exp(beta x_i) / sum exp(beta x_j). 8-bit outputs have scale 1/256 and the lowest zero."""

    name: ClassVar[str] = "softmax"

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        check.dtypes(ctx, ctx.inputs, DTYPES)
        if not x.shape:
            raise ctx.fail("input is a scalar; needs at least one axis")
        beta = ctx.attr_float("beta")
        if not math.isfinite(beta):
            raise ctx.fail(f"beta is {beta}")
        if x.dtype != "float32":
            check.output_dtype(ctx, x.dtype)
            check.per_tensor(ctx, x, ctx.out)
            lowest = int(np.iinfo(x.dtype).min)
            if abs(ctx.out.scale - 1 / 256) > 0.001 / 256 or ctx.out.zero != lowest:
                raise ctx.fail(
                    f"the output has scale {ctx.out.scale:g} and zero point {ctx.out.zero}, "
                    f"must have 1/256 and {lowest}",
                    hint="the reference refuses the model too: convert it again",
                )
            if beta * x.scale * (1 << 26) <= 1:
                raise ctx.fail(
                    f"beta {beta:g} times the input's scale {x.scale:g} must be above 2^-26",
                )
            if x.shape[-1] > MAX_CLASSES:
                raise ctx.fail(
                    f"the last axis has {x.shape[-1]} elements; supported: {MAX_CLASSES}",
                    hint="end the model before the softmax and compute it from float scores",
                )
        return [(x.shape, x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        if ctx.out.dtype == "float32":
            scores = x.astype(np.float64) * ctx.attr_float("beta")
            powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
            return [(powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)]
        multiplier, shift, lowest_difference = softmax_scale(ctx)
        wide = x.astype(np.int64)
        difference = wide - wide.max(axis=-1, keepdims=True)
        counted = difference >= lowest_difference
        scaled = high_multiply(np.where(counted, difference, 0) << shift, multiplier)
        powers = np.where(counted, exp_q5_26(scaled), 0)
        total = divide_by_power(powers, 12).sum(axis=-1, keepdims=True)
        reciprocal, digits = reciprocal_q12_19(total)
        probability = divide_by_power(high_multiply(reciprocal, powers), digits + 31 - 8)
        info = np.iinfo(x.dtype)
        return [np.clip(probability + info.min, info.min, info.max).astype(x.dtype)]

    def views(self, ctx: NodeContext) -> Views:
        """x and y as rows of the last axis."""
        x = ctx.inputs[0]
        flat = (x.elements // x.shape[-1], x.shape[-1])
        return Views((flat,), (flat,))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        return _compute_real(ctx, x) if x.dtype == "float32" else _compute_fixed(ctx, x)


def softmax_scale(ctx: NodeContext) -> tuple[int, int, int]:
    """Multiplier and left shift that take a difference to Q5.26, and the lowest that counts."""
    ratio = min(ctx.attr_float("beta") * ctx.inputs[0].scale * (1 << 26), (1 << 31) - 1.0)
    multiplier, shift = quantize_multiplier(ratio)
    return multiplier, shift, -math.floor(((1 << 5) - 1) * (1 << 26) / (1 << shift))


def exp_q5_26(x: Array) -> Array:
    """exp of x <= 0: Q5.26 in, Q0.31 out (gemmlowp's exp_on_negative_values)."""
    quarter = 1 << 24
    rest = (x & (quarter - 1)) - quarter
    remainder = rest - x
    result = _exp_last_quarter(rest << 5)
    for bit, factor in EXP_FACTORS:
        result = np.where(remainder & (1 << bit), high_multiply(result, factor), result)
    return np.where(x == 0, (1 << 31) - 1, result)


def _exp_last_quarter(a: Array) -> Array:
    """exp of -1/4 <= a < 0, Q0.31: a Taylor polynomial about -1/8."""
    at_centre, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = high_multiply(x, x)
    x3 = high_multiply(x2, x)
    x4 = high_multiply(x2, x2)
    cubic = high_multiply(divide_by_power(x4, 2) + x3, third) + x2
    return at_centre + high_multiply(x + divide_by_power(cubic, 1), at_centre)


def reciprocal_q12_19(x: Array) -> tuple[Array, Array]:
    """(r, d) with 1 / x = r * 2^-d for x >= 1: Q12.19 in, r in Q0.31 (GetReciprocal of TFLite)."""
    leading = 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)
    fraction = (x << leading) - (1 << 31)
    half = (fraction + (1 << 31)) // 2  # RoundingHalfSum with 2^31 - 1, the one of Q0.31
    estimate = 1515870810 + high_multiply(half, -1010580540)  # 48/17 - 32/17 d, Q2.29
    for _ in range(3):
        error = (1 << 29) - high_multiply(half, estimate)
        estimate = estimate + (high_multiply(estimate, error) << 2)
    return np.minimum(estimate << 1, (1 << 31) - 1), 12 - leading


def _compute_real(ctx: NodeContext, x: Tensor) -> list[Tensor]:
    rows, columns = x.shape
    k, j = te.reduce_axis(columns, "k"), te.reduce_axis(columns, "j")
    beta = ctx.attr_float("beta")
    largest = te.max if beta >= 0 else te.min
    top: Tensor = te.compute((rows,), lambda r: largest(x[r, k.var], axis=k), "top")
    power: Tensor = te.compute(
        x.shape, lambda r, c: te.call("exp", (x[r, c] - top[r]) * FloatImm(beta)), "power"
    )
    total: Tensor = te.compute((rows,), lambda r: te.sum(power[r, j.var], axis=j), "total")
    return result(x.shape, lambda r, c: power[r, c] / total[r])


def _compute_fixed(ctx: NodeContext, x: Tensor) -> list[Tensor]:
    """In gemmlowp's fixed point: exponentials Q0.31, their sum Q12.19."""
    rows, columns = x.shape
    k, j = te.reduce_axis(columns, "k"), te.reduce_axis(columns, "j")
    mult, shift, lowest = softmax_scale(ctx)
    top: Tensor = te.compute((rows,), lambda r: te.max(x[r, k.var].astype("int32"), axis=k), "top")

    def exponential(r: Expr, c: Expr) -> Expr:
        difference = x[r, c].astype("int32") - top[r]
        # Below the lowest difference that counts the product would not fit; its power is zero.
        scaled = _high(te.max(difference, lowest) << shift, parameter("beta_mult", mult))
        return te.select(difference >= lowest, _exp_on_negative(scaled), 0)

    power: Tensor = te.compute(x.shape, exponential, "power")
    total: Tensor = te.compute(
        (rows,), lambda r: te.sum(te.call("rdbp", power[r, j.var], 12), axis=j), "total"
    )
    reciprocal: Tensor = te.compute((rows,), lambda r: _reciprocal(total[r]), "reciprocal")
    low, high = dtype_range(x.dtype)

    def probability(r: Expr, c: Expr) -> Expr:
        digits = IntImm(12 + 31 - 8) - te.call("clz", total[r])
        value = te.call("rdbp", _high(reciprocal[r], power[r, c]), digits)
        if columns << 19 >= 1 << 28:  # the sum may have so many digits that nothing remains
            value = te.select(digits < 32, value, 0)
        return cast(x.dtype, te.clip(value + low, low, high))

    return result(x.shape, probability)


def _high(a: Expr, b: Expr | int) -> Expr:
    return te.call("srdhm", a, b)


def _exp_on_negative(x: Expr) -> Expr:
    """exp of x <= 0: Q5.26 in, Q0.31 out: gemmlowp's exp_on_negative_values."""
    quarter = 1 << 24
    rest = (x & (quarter - 1)) - quarter
    remainder = rest - x
    power = _exp_of_quarter(rest << 5)
    for bit, factor in EXP_FACTORS:
        held = (remainder >> bit) & 1
        power = te.select(te.equal(held, 1), _high(power, factor), power)
    return te.select(te.equal(x, 0), INT32_MAX, power)


def _exp_of_quarter(a: Expr) -> Expr:
    """exp of -1/4 <= a < 0 in Q0.31: gemmlowp's polynomial about -1/8."""
    x = a + (1 << 28)
    x2 = _high(x, x)
    x3 = _high(x2, x)
    x4 = _high(x2, x2)
    cubic = _high(te.call("rdbp", x4, 2) + x3, 715827883) + x2
    return _high(x + te.call("rdbp", cubic, 1), 1895147668) + 1895147668


def _reciprocal(total: Expr) -> Expr:
    """The fraction of 1 / total in Q0.31, total in Q12.19: GetReciprocal, three Newton steps."""
    leading = te.call("clz", total)
    # The sum's mantissa in Q0.32, from one half to one, and half of it in Q0.31.
    mantissa = total.astype("uint32") << leading.astype("uint32")
    half = (mantissa >> 1).astype("int32")
    estimate = _high(half, -1010580540) + 1515870810
    for _ in range(3):
        error = IntImm(1 << 29) - _high(half, estimate)
        estimate = estimate + (_high(estimate, error) << 2)
    return te.select(estimate >= 1 << 30, INT32_MAX, estimate << 1)


def _import(node: TfliteNode) -> None:
    node.add("softmax", node.operands(1), attributes(beta=node.option_float("Beta")))


OPS: tuple[Op, ...] = (Softmax(),)

TFLITE = {"SOFTMAX": Importer(_import, "SoftmaxOptions")}
