"""Average and maximum over windows of NHWC images. Only cells inside the image count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, activation_range, attributes, float_activation
from microtvm.ops.expression import float_clamp, padded, result
from microtvm.ops.requantize import parameter
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.ops.window import Window
from microtvm.te.tensor import Tensor
from microtvm.tir.dtype import dtype_range
from microtvm.tir.expr import Expr, FloatImm, IntImm, cast
from microtvm.util import Array


class _Pool2d(Op):
    """x [N, H, W, C] to [N, OH, OW, C]. Nothing is rescaled, even where scales differ."""

    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        x = ctx.inputs[0]
        window = _window(ctx)
        height, width = window.output_size(ctx)
        pads = zip(window.padding, np.repeat(window.kernel, 2), strict=True)
        if any(pad >= size for pad, size in pads):
            raise ctx.fail(
                f"padding {window.padding} leaves windows of {window.kernel} outside the image"
            )
        check.dtypes(ctx, (x,), ("int8", "float32"))
        check.output_dtype(ctx, x.dtype)
        check.activation(ctx)
        if x.dtype == "int8":
            check.per_tensor(ctx, x, ctx.out)
        return [((x.shape[0], height, width, x.shape[3]), x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        y = self._pool(_window(ctx), inputs[0])
        if ctx.out.dtype == "float32":
            low, high = float_activation(ctx.attr_str("activation"))
            return [np.clip(y.astype(np.float32), low, high)]
        return [np.clip(y, *activation_range(ctx)).astype(np.int8)]

    def _pool(self, window: Window, x: Array) -> Array:
        raise NotImplementedError


class AvgPool2d(_Pool2d):
    """The mean of raw quantised values (the zero point stays in), rounded half away from zero."""

    name: ClassVar[str] = "avg_pool2d"

    def _pool(self, window: Window, x: Array) -> Array:
        inside = window.view(np.ones_like(x, np.int64), 0).sum(axis=(3, 4))
        if x.dtype == np.float32:
            return np.asarray(window.view(x.astype(np.float64), 0).sum(axis=(3, 4)) / inside)
        total = window.view(x.astype(np.int64), 0).sum(axis=(3, 4))
        return np.asarray(np.sign(total) * ((np.abs(total) + inside // 2) // inside))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        if x.dtype == "float32":
            total = _reduced(ctx, padded(x, ctx, FloatImm(0.0)), te.sum, "float32")

            def mean(b: Expr, h: Expr, v: Expr, c: Expr) -> Expr:
                value = total[b, h, v, c] / _cells(ctx, h, v).astype("float32")
                return float_clamp(value, ctx.attr_str("activation"))

            return result(total.shape, mean)
        total = _reduced(ctx, padded(x, ctx, IntImm(0, x.dtype)), te.sum, "int32")

        def rounded(b: Expr, h: Expr, v: Expr, c: Expr) -> Expr:
            value, cells = total[b, h, v, c], _cells(ctx, h, v)
            half = te.truncdiv(cells, 2)
            quotient = te.truncdiv(te.select(value > 0, value + half, value - half), cells)
            return _limited(ctx, quotient)

        return result(total.shape, rounded)


class MaxPool2d(_Pool2d):
    """The maximum of raw values."""

    name: ClassVar[str] = "max_pool2d"

    def _pool(self, window: Window, x: Array) -> Array:
        lowest = -np.inf if x.dtype == np.float32 else -128
        return np.asarray(window.view(x, lowest).max(axis=(3, 4)))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        if x.dtype == "float32":
            top = _reduced(ctx, padded(x, ctx, FloatImm(-np.inf)), te.max, "float32")
            return result(top.shape, lambda *i: float_clamp(top[i], ctx.attr_str("activation")))
        lowest = IntImm(dtype_range(x.dtype)[0], x.dtype)
        best = _reduced(ctx, padded(x, ctx, lowest), te.max, "int32")
        return result(best.shape, lambda *i: _limited(ctx, best[i]))


def _reduced(ctx: NodeContext, x: Tensor, reduce: Callable[..., Expr], dtype: str) -> Tensor:
    """`reduce` (te.sum or te.max) over each window of x, which is already padded, in `dtype`."""
    size_h, size_w = ctx.attr_ints("size")
    stride_h, stride_w = ctx.attr_ints("strides")
    kh, kw = te.reduce_axis(size_h, "kh"), te.reduce_axis(size_w, "kw")

    def element(b: Expr, h: Expr, v: Expr, c: Expr) -> Expr:
        cell = x[b, h * stride_h + kh.var, v * stride_w + kw.var, c]
        return reduce(cell.astype(dtype), axis=[kh, kw])

    window: Tensor = te.compute(ctx.out.shape, element, "window")
    return window


def _cells(ctx: NodeContext, h: Expr, v: Expr) -> Expr:
    """How many cells of the window of output pixel (h, v) lie inside the image."""
    size, strides = ctx.attr_ints("size"), ctx.attr_ints("strides")
    top, bottom, left, right = ctx.attr_ints("padding")
    height, width = ctx.inputs[0].shape[1:3]

    def along(i: Expr, k: int, before: int, after: int, extent: int) -> Expr:
        if not before and not after:
            return IntImm(size[k])
        begin = i * strides[k] - before
        return te.min(begin + size[k], extent) - te.max(begin, 0)

    return along(h, 0, top, bottom, height) * along(v, 1, left, right, width)


def _limited(ctx: NodeContext, value: Expr) -> Expr:
    """An int32 value within the activation's range, as the output's dtype."""
    low, high = activation_range(ctx)
    return cast(ctx.out.dtype, te.clip(value, parameter("low", low), parameter("high", high)))


def _window(ctx: NodeContext) -> Window:
    size = ctx.attr_ints("size")
    if len(size) != 2:
        raise ctx.fail(f"size is (h, w), found {size}")
    return Window.of(ctx, (size[0], size[1]))


def _import_pool(node: TfliteNode, op: str) -> None:
    (x,) = node.operands(1)
    shape = node.type_of(x).shape
    if len(shape) != 4:
        raise node.fail(f"input {list(shape)} must have 4 dimensions")
    size = (node.option_int("FilterHeight"), node.option_int("FilterWidth"))
    strides = (node.option_int("StrideH"), node.option_int("StrideW"))
    node.add(
        op,
        (x,),
        attributes(
            size=size,
            strides=strides,
            padding=node.padding((shape[1], shape[2]), size, strides),
            activation=node.activation(),
        ),
    )


OPS: tuple[Op, ...] = (AvgPool2d(), MaxPool2d())

TFLITE = {
    "AVERAGE_POOL_2D": Importer(lambda node: _import_pool(node, "avg_pool2d"), "Pool2DOptions"),
    "MAX_POOL_2D": Importer(lambda node: _import_pool(node, "max_pool2d"), "Pool2DOptions"),
}
