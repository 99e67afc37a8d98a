"""What the operators with weights (conv2d, depthwise_conv2d, dense) share: checks, bias,
requantisation, in numpy and as tensor expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, activation_range, float_activation
from microtvm.ops.expression import float_clamp
from microtvm.ops.interval import Interval, full
from microtvm.ops.quantize import INT32_MAX, channel_multipliers, channel_ratios
from microtvm.ops.requantize import (
    Reach,
    Rescale,
    RescaleOnce,
    check_accumulator,
    parameter,
    saturate,
)
from microtvm.ops.rounding import divide_by_power, high_multiply
from microtvm.tir.expr import Expr, FloatImm
from microtvm.util import Array


def check_operands(ctx: NodeContext, channel_axis: int) -> None:
    """Input, weights [.., channels at `channel_axis`, ..] and bias are of types that can be
    compiled.

    float32 throughout, or int8 input and output, symmetric int8 weights (one scale, or one per
    channel) and an int32 bias. Weights and bias are constant.
    """
    check.input_count(ctx, 2, 3)
    x, w = ctx.inputs[:2]
    if x.dtype == "float32" and w.dtype in ("int8", "uint8"):
        raise ctx.fail(
            "hybrid (dynamic range) quantisation: float activations with integer weights",
            hint="convert the model to full int8 with a representative data set, or to float32",
        )
    if x.dtype == "int16" and w.dtype == "int8":
        raise ctx.fail(
            "int16x8 quantisation: 16-bit activations with 8-bit weights",
            hint="convert the model to full int8 quantisation",
        )
    check.dtypes(ctx, ctx.inputs[:2], ("int8", "float32"))
    check.output_dtype(ctx, x.dtype)
    check.activation(ctx)
    for i, what in ((1, "weights"), (2, "bias"))[: len(ctx.inputs) - 1]:
        if i not in ctx.constants:
            raise ctx.fail(f"the {what} must be constant")
    channels = w.shape[channel_axis]
    if len(ctx.inputs) == 3:
        bias = ctx.inputs[2]
        wanted = "int32" if x.dtype == "int8" else "float32"
        if bias.dtype != wanted or bias.elements != channels:
            raise ctx.fail(
                f"bias is {check.describe(bias)}, must be {wanted} of {channels} elements"
            )
    if x.dtype == "int8":
        check.per_tensor(ctx, x, ctx.out)
        _check_weights(ctx, channel_axis)
        _check_accumulator(ctx, channel_axis)


def _check_weights(ctx: NodeContext, channel_axis: int) -> None:
    w = ctx.inputs[1]
    if w.quant is None:
        raise ctx.fail(f"the weights {check.describe(w)} have no scale")
    if any(w.quant.zero):
        raise ctx.fail(
            "the weights' zero point is not 0",
            hint="int8 weights are symmetric: convert the model with a current converter",
        )
    if not all(np.isfinite(s) and s > 0 for s in w.quant.scale):
        raise ctx.fail("a scale of the weights is not positive and finite")
    per_channel = w.quant.axis is not None and len(w.quant.scale) > 1
    channels = w.shape[channel_axis]
    if per_channel and (w.quant.axis != channel_axis or len(w.quant.scale) != channels):
        raise ctx.fail(
            f"{len(w.quant.scale)} scales on axis {w.quant.axis} of the weights; "
            f"supported: one, or {channels} on axis {channel_axis}"
        )


def _check_accumulator(ctx: NodeContext, channel_axis: int) -> None:
    """No input can make the accumulator, shifted left by a multiplier above 1, leave int32."""
    x, w = ctx.inputs[:2]
    weights = np.moveaxis(ctx.constants[1].astype(np.int64), channel_axis, 0)
    channels = weights.shape[0]
    farthest = max(x.zero + 128, 127 - x.zero)
    reach = np.abs(weights.reshape(channels, -1)).sum(axis=1) * farthest
    reach = reach + np.abs(bias_of(ctx, channels))
    _, exponents = channel_multipliers(channel_ratios(x, w, ctx.out, channels))
    over = (reach << np.maximum(exponents, 0)) > INT32_MAX
    if over.any():
        raise ctx.fail(
            f"the accumulator of channel {int(np.argmax(over))} can exceed 32 bits",
            hint="the weights, the bias or the scales are far outside of what training gives",
        )


def bias_of(ctx: NodeContext, channels: int) -> Array:
    """The bias as int64 or float64 [channels]; zeros where there is none."""
    wide = np.int64 if ctx.inputs[0].dtype == "int8" else np.float64
    if 2 not in ctx.constants:
        return np.zeros(channels, wide)
    return ctx.constants[2].reshape(channels).astype(wide)


def centred(ctx: NodeContext, x: Array) -> Array:
    """The input as float64 with its zero point subtracted, so that padding is zero.

    Sums of int8 products stay far below 2^53: float64 products of matrices are exact, and fast.
    """
    wide = x.astype(np.float64)
    return wide - ctx.inputs[0].zero if x.dtype == np.int8 else wide


def finish(ctx: NodeContext, sums: Array, *, once: bool) -> Array:
    """Output from the sums of products [..., channels] (float64): bias, requantisation, activation.

    `once`: one rounding of a double product (FULLY_CONNECTED) instead of two of a 31-bit
    multiplier.
    """
    channels = sums.shape[-1]
    if ctx.out.dtype == "float32":
        low, high = float_activation(ctx.attr_str("activation"))
        return np.clip((sums + bias_of(ctx, channels)).astype(np.float32), low, high)
    acc = sums.astype(np.int64) + bias_of(ctx, channels)
    ratios = channel_ratios(ctx.inputs[0], ctx.inputs[1], ctx.out, channels)
    if once:
        real = acc.astype(np.float64) * ratios
        # Outputs beyond int32 are clamped either way; the cast needs them in range.
        rounded = np.copysign(np.floor(np.abs(real) + 0.5), real)
        scaled = np.clip(rounded, -INT32_MAX, INT32_MAX).astype(np.int64)
    else:
        multiplier, exponent = channel_multipliers(ratios)
        high_part = high_multiply(acc << np.maximum(exponent, 0), multiplier)
        scaled = divide_by_power(high_part, np.maximum(-exponent, 0))
    first, last = activation_range(ctx)
    return np.clip(scaled + ctx.out.zero, first, last).astype(np.int8)


def wide(value: Expr) -> Expr:
    """An element as a factor of the accumulator's type."""
    return value if value.dtype == "float32" else value.astype("int32")


def border(ctx: NodeContext) -> Expr:
    """What the image is padded with: the real zero."""
    if ctx.inputs[0].dtype == "float32":
        return FloatImm(0.0)
    return parameter("zero_in", ctx.inputs[0].zero).astype("int8")


class Weighted(Op):
    """An operator with constant weights and requantisation of its sums of products."""

    once: ClassVar[bool] = False
    """As `finish` has it."""

    def sum_ends(self, ctx: NodeContext, x: Interval) -> Interval:
        """Smallest and largest sum of (x - zero point) w of each output channel."""
        raise NotImplementedError

    def accumulators(self, ctx: NodeContext, inputs: Sequence[Interval | None]) -> Interval | None:
        if inputs[0] is None:
            return None
        sums = self.sum_ends(ctx, inputs[0])
        bias = bias_of(ctx, len(sums.low))
        return Interval(sums.low + bias, sums.high + bias)

    def intervals(
        self, ctx: NodeContext, inputs: Sequence[Interval | None]
    ) -> list[Interval | None]:
        """Requantisation is monotone: its ends are those of the accumulators."""
        if inputs[0] is None:
            return [full(ctx.out)]
        sums = self.sum_ends(ctx, inputs[0])
        low, high = (
            finish(ctx, end[None].astype(np.float64), once=self.once)
            for end in (sums.low, sums.high)
        )
        return [Interval.around(low, high)]


def product_ends(w: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Smallest and largest w x of every weight, int64, for low <= x <= high (which broadcast)."""
    wide_w = w.astype(np.int64)
    at_low, at_high = wide_w * low, wide_w * high
    return np.minimum(at_low, at_high), np.maximum(at_low, at_high)


class Epilogue:
    """From accumulators to outputs: bias, requantisation, activation.

    The input's zero point is in the bias: sum (x - z) w + b = sum x w + (b - z sum w), so that
    padding is filled with the zero point. Accumulators are int32, proven to fit; `once` as `finish`
    has it.
    """

    def __init__(self, ctx: NodeContext, *, channel_axis: int, once: bool) -> None:
        self.activation = ctx.attr_str("activation")
        weights = np.moveaxis(ctx.constants[1], channel_axis, 0)
        channels = weights.shape[0]
        bias = bias_of(ctx, channels)
        self.quantised = ctx.out.dtype == "int8"
        if not self.quantised:
            self.bias = te.constant(bias.astype(np.float32), "bias")
            return
        flat = weights.reshape(channels, -1).astype(np.int64)
        folded = bias - ctx.inputs[0].zero * flat.sum(axis=1)
        low, high = check_accumulator(ctx, np.abs(flat).sum(axis=1), folded, 128)
        self.bias = te.constant(folded.astype(np.int32), "bias")
        self.low, self.high = activation_range(ctx)
        self.zero = ctx.out.zero
        ratios = channel_ratios(ctx.inputs[0], ctx.inputs[1], ctx.out, channels)
        first, last = self.low - self.zero, self.high - self.zero
        if once:
            self.rescale: Rescale | RescaleOnce = RescaleOnce(ratios, low, high, first, last, "w")
        else:
            self.rescale = Rescale(ratios, "w", Reach(low, high, first, last))

    def __call__(self, accumulator: Expr, channel: Expr) -> Expr:
        value = accumulator + self.bias[channel]
        if not self.quantised:
            return float_clamp(value, self.activation)
        return saturate(self.rescale(value, channel, self.zero), self.low, self.high)
