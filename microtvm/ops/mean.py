"""MEAN over some axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, attributes
from microtvm.ops.expression import result
from microtvm.ops.quantize import quantize_multiplier
from microtvm.ops.requantize import parameter, to_quantized
from microtvm.ops.rounding import multiply
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.dtype import dtype_range
from microtvm.tir.expr import Expr, FloatImm
from microtvm.util import Array

DTYPES = ("int8", "uint8", "float32")


class Mean(Op):
    """`axes` ascending; `keep_dims` leaves them with one element. The pool rounds otherwise."""

    name: ClassVar[str] = "mean"
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        check.dtypes(ctx, ctx.inputs, DTYPES)
        axes = ctx.attr_ints("axes")
        for axis in axes:
            check.axis(ctx, axis, len(x.shape))
        if list(axes) != sorted(set(axes)):
            raise ctx.fail(f"axes {list(axes)} are not ascending")
        if x.dtype != "float32":
            check.output_dtype(ctx, x.dtype)
            check.per_tensor(ctx, x, ctx.out)
            count = mean_count(ctx)
            _, shift = mean_multiplier(ctx)
            if count > MAX_COUNT:
                raise ctx.fail(
                    f"averages {count} elements; the reference's sum holds {MAX_COUNT}",
                    hint="average in two steps",
                )
            check.rescaling(ctx, shift, count * 255)
        return [(self._shape(ctx), x.dtype)]

    def _shape(self, ctx: NodeContext) -> tuple[int, ...]:
        axes, keep = ctx.attr_ints("axes"), bool(ctx.node.attrs["keep_dims"])
        shape = ctx.inputs[0].shape
        return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        axes, count = ctx.attr_ints("axes"), mean_count(ctx)
        if ctx.out.dtype == "float32":
            total = x.astype(np.float64).sum(axis=axes)
            return [(total / count).astype(np.float32).reshape(self._shape(ctx))]
        total = x.astype(np.int64).sum(axis=axes) - count * ctx.inputs[0].zero
        scaled = multiply(total, *mean_multiplier(ctx)) + ctx.out.zero
        info = np.iinfo(x.dtype)
        return [np.clip(scaled, info.min, info.max).astype(x.dtype).reshape(self._shape(ctx))]

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        total, count = _total(ctx, x), mean_count(ctx)
        if x.dtype == "float32":
            return result(total.shape, lambda *i: total[i] / FloatImm(float(count)))
        mult, exponent = mean_multiplier(ctx)
        function = "requantize_right" if exponent <= 0 else "requantize"
        factors = parameter("mult", mult), parameter("exponent", exponent)
        low, high = dtype_range(x.dtype)

        def element(*i: Expr) -> Expr:
            moved = total[i] - parameter("zero_sum", count * ctx.inputs[0].zero)
            scaled = te.call(function, moved, *factors)
            return to_quantized(scaled, ctx.out.zero, low, high, x.dtype)

        return result(total.shape, element)


def _total(ctx: NodeContext, x: Tensor) -> Tensor:
    """The sums of elements over `axes`, in the output's shape."""
    keep = bool(ctx.node.attrs["keep_dims"])
    reduced = {a: te.reduce_axis(x.shape[a], f"r{a}") for a in ctx.attr_ints("axes")}

    def element(*index: Expr) -> Expr:
        kept = iter(e for k, e in enumerate(index) if not (keep and k in reduced))
        place = [reduced[k].var if k in reduced else next(kept) for k in range(len(x.shape))]
        value = x[tuple(place)].astype("float32" if x.dtype == "float32" else "int32")
        return te.sum(value, axis=list(reduced.values())) if reduced else value

    total: Tensor = te.compute(ctx.out.shape, element, "total")
    return total


MAX_COUNT = (1 << 31) // 256 - 1
"""Elements whose sum, less the zero point, always fits int32."""


def mean_count(ctx: NodeContext) -> int:
    """How many elements make one mean."""
    count = 1
    for axis in ctx.attr_ints("axes"):
        count *= ctx.inputs[0].shape[axis]
    return count


def mean_multiplier(ctx: NodeContext) -> tuple[int, int]:
    """Multiplier and exponent that take a sum to the output's scale: 1/n is in the multiplier."""
    multiplier, exponent = quantize_multiplier(ctx.inputs[0].scale / ctx.out.scale)
    count = mean_count(ctx)
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return (multiplier << shift) // count, exponent - shift


def _import(node: TfliteNode) -> None:
    x = node.operands(2)[0]
    rank = len(node.type_of(x).shape)
    axes = node.constant_ints(1)
    for axis in axes:
        if not -rank <= axis < rank:
            raise node.fail(f"axis {axis} is outside a tensor of rank {rank}")
    keep_dims = node.option_bool("KeepDims") if node.has_options else False
    positive = tuple(sorted({axis % rank for axis in axes}))
    node.add("mean", (x,), attributes(axes=positive, keep_dims=keep_dims))


OPS: tuple[Op, ...] = (Mean(),)

TFLITE = {"MEAN": Importer(_import, "ReducerOptions")}
