"""QUANTIZE and DEQUANTIZE: between float32 and integers, and between two quantisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.graph.ir import TensorType
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, Views
from microtvm.ops.expression import centred_read, clamp_from_low, result
from microtvm.ops.linear_form import linear_form
from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.requantize import Rescale, parameter, saturate
from microtvm.ops.rounding import half_away, multiply
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, FloatImm, cast
from microtvm.util import Array

PAIRS = {
    "float32": ("int8", "uint8", "int16"),
    "int8": ("int8", "uint8", "int16"),
    "uint8": ("int8", "uint8", "int16"),
    "int16": ("int8", "int16"),
}
"""Input dtype to the output dtypes that QUANTIZE can make of it."""


class Quantize(Op):
    """From float32 or another quantisation to the output's dtype, scale and zero point."""

    name: ClassVar[str] = "quantize"
    elementwise: ClassVar[bool] = True
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        check.dtypes(ctx, ctx.inputs, tuple(PAIRS))
        if ctx.out.dtype not in PAIRS[x.dtype]:
            raise ctx.fail(
                f"can't make {ctx.out.dtype} of {x.dtype}; supported: {', '.join(PAIRS[x.dtype])}"
            )
        check.per_tensor(ctx, ctx.out)
        if x.dtype != "float32":
            check.per_tensor(ctx, x)
            check.no_zero_point(ctx, x, ctx.out)
            span = 1 << 15 if x.dtype == "int16" else 255
            check.rescaling(ctx, quantize_multiplier(x.scale / ctx.out.scale)[1], span)
        return [(x.shape, ctx.out.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        source, out = ctx.inputs[0], ctx.out
        info = np.iinfo(out.dtype)
        if source.dtype == "float32":
            with np.errstate(over="ignore"):
                scaled = x / np.float32(out.scale)
            # Not a number becomes the lowest; more than int32 holds saturates (undefined in C).
            limited = np.clip(np.nan_to_num(scaled, nan=-(2.0**24)), -(2.0**24), 2.0**24)
            rounded = half_away(limited).astype(np.int64) + out.zero
            return [np.clip(rounded, info.min, info.max).astype(out.dtype)]
        return [self._requantised(ctx, x.astype(np.int64)).astype(out.dtype)]

    def _requantised(self, ctx: NodeContext, x: Array) -> Array:
        """Of int64 elements, as int64 within the output's dtype."""
        source, out = ctx.inputs[0], ctx.out
        info = np.iinfo(out.dtype)
        ratio = quantize_multiplier(source.scale / out.scale)
        limited: Array = np.clip(multiply(x - source.zero, *ratio) + out.zero, info.min, info.max)
        return limited

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        source, out = ctx.inputs[0], ctx.out
        info = np.iinfo(out.dtype)
        low, high = int(info.min), int(info.max)
        if source.dtype == "float32":

            def real(*i: Expr) -> Expr:
                rounded = te.call("round_away", x[i] / FloatImm(out.scale))
                # In floats: the conversion is undefined for what int32 can't hold.
                limited = clamp_from_low(rounded, low - out.zero, high - out.zero)
                return cast(out.dtype, limited.astype("int32") + parameter("zero_out", out.zero))

            return result(x.shape, real)
        ratio = source.scale / out.scale
        if source.dtype != "int16" and out.dtype != "int16":
            form = linear_form(
                lambda v: self._requantised(ctx, v), [ratio], [source.dtype], (low, high)
            )
            if form is not None:
                return result(x.shape, lambda *i: form([x[i]], out.dtype))
        scale = Rescale([ratio], "x", 1 << 16)

        def element(*i: Expr) -> Expr:
            difference = centred_read(x[i], source.zero, "zero_in")
            return saturate(scale(difference, zero=out.zero), low, high, out.dtype)

        return result(x.shape, element)


class Dequantize(Op):
    """scale * (q - zero) in float32; the input may be quantised per channel."""

    name: ClassVar[str] = "dequantize"
    elementwise: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        check.dtypes(ctx, ctx.inputs, check.QUANTISED)
        if x.quant is None:
            raise ctx.fail(f"{check.describe(x)} has no scale and zero point")
        if x.quant.axis is not None:
            check.axis(ctx, x.quant.axis, len(x.shape))
            if len(x.quant.scale) not in (1, x.shape[x.quant.axis]):
                raise ctx.fail(
                    f"{check.describe(x)} has {len(x.quant.scale)} scales on axis {x.quant.axis}"
                )
        return [(x.shape, "float32")]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        scale, zero = _along(ctx.inputs[0])
        return [((x.astype(np.int64) - zero).astype(np.float32) * scale).astype(np.float32)]

    def views(self, ctx: NodeContext) -> Views:
        """The shape itself where scales belong to an axis."""
        quant = ctx.inputs[0].quant
        if quant is None or len(quant.scale) == 1:
            return super().views(ctx)
        return Views((ctx.inputs[0].shape,), (ctx.out.shape,))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        quant = ctx.inputs[0].quant
        assert quant is not None
        if len(quant.scale) == 1:
            (scale,), (zero,) = quant.scale, quant.zero

            def element(*i: Expr) -> Expr:
                return centred_read(x[i], zero, "zero_in").astype("float32") * FloatImm(scale)

            return result(x.shape, element)
        axis = quant.axis
        assert axis is not None
        scales = te.constant(np.array(quant.scale, np.float32), "scale")
        zeros = te.constant(np.array(quant.zero, np.int32), "zero")

        def per_channel(*i: Expr) -> Expr:
            difference = x[i].astype("int32") - zeros[i[axis]]
            return difference.astype("float32") * scales[i[axis]]

        return result(x.shape, per_channel)


def _along(t: TensorType) -> tuple[Array, Array]:
    """Scales (float32) and zero points (int64) that broadcast over a tensor of type `t`."""
    assert t.quant is not None
    shape = [1] * len(t.shape)
    if t.quant.axis is not None:
        shape[t.quant.axis] = len(t.quant.scale)
    return (
        np.array(t.quant.scale, np.float32).reshape(shape),
        np.array(t.quant.zero, np.int64).reshape(shape),
    )


def _import(node: TfliteNode) -> None:
    node.add(node.builtin.lower(), node.operands(1), {})


OPS: tuple[Op, ...] = (Quantize(), Dequantize())

TFLITE = {
    "QUANTIZE": Importer(_import, "QuantizeOptions"),
    "DEQUANTIZE": Importer(_import, "DequantizeOptions"),
}
