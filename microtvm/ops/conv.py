"""Convolutions of NHWC images: conv2d (with groups) and depthwise_conv2d (with a channel
multiplier).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, Views, attributes
from microtvm.ops.expression import padded, result
from microtvm.ops.interval import Interval
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.ops.weighted import (
    Epilogue,
    Weighted,
    border,
    centred,
    check_operands,
    finish,
    product_ends,
    wide,
)
from microtvm.ops.window import Window
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr
from microtvm.util import Array


class Conv2d(Weighted):
    """x [N, H, W, C], w [O, KH, KW, C / groups], bias [O]; groups side by side."""

    name: ClassVar[str] = "conv2d"

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 2, 3)
        window = _window(ctx)
        height, width = window.output_size(ctx)
        x, w = ctx.inputs[:2]
        groups = ctx.attr_int("groups")
        if groups < 1 or x.shape[3] != groups * w.shape[3] or w.shape[0] % groups != 0:
            raise ctx.fail(
                f"weights {list(w.shape)} in {groups} groups do not go with "
                f"{x.shape[3]} input channels"
            )
        check_operands(ctx, channel_axis=0)
        return [((x.shape[0], height, width, w.shape[0]), x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        w = inputs[1].astype(np.float64)
        groups = ctx.attr_int("groups")
        windows = _window(ctx).view(centred(ctx, inputs[0]), 0)
        images = np.split(windows, groups, axis=5)
        kernels = np.split(w, groups, axis=0)
        sums = [
            np.tensordot(image, kernel, axes=([3, 4, 5], [1, 2, 3]))
            for image, kernel in zip(images, kernels, strict=True)
        ]
        return [finish(ctx, np.concatenate(sums, axis=-1), once=False)]

    def sum_ends(self, ctx: NodeContext, x: Interval) -> Interval:
        w, groups, zero = ctx.constants[1], ctx.attr_int("groups"), ctx.inputs[0].zero
        # Of each output channel: the input channels of its group.
        low, high = (
            np.repeat(bound.reshape(groups, -1) - zero, w.shape[0] // groups, axis=0)
            for bound in (x.low, x.high)
        )
        products = product_ends(w, low[:, None, None], high[:, None, None])
        return _over_windows(ctx, *(p.sum(axis=3).transpose(1, 2, 0) for p in products))

    def views(self, ctx: NodeContext) -> Views:
        """A convolution of single pixels is a matrix product: x [pixels, C], y [pixels, O]."""
        if not _is_pointwise(ctx):
            return super().views(ctx)
        x, w = ctx.inputs[:2]
        pixels, depth = x.elements // x.shape[3], x.shape[3]
        channels = w.shape[0]
        rest = tuple(t.shape for t in ctx.inputs[2:])
        return Views(((pixels, depth), (channels, depth), *rest), ((pixels, channels),))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        x, w = inputs[:2]
        epilogue = Epilogue(ctx, channel_axis=0, once=False)
        if len(w.shape) == 2:
            return _compute_pointwise(x, w, epilogue)
        channels, kernel_h, kernel_w, depth = w.shape
        stride_h, stride_w = ctx.attr_ints("strides")
        step_h, step_w = ctx.attr_ints("dilation")
        per_group = channels // ctx.attr_int("groups")
        image = padded(x, ctx, border(ctx))
        kh = te.reduce_axis(kernel_h, "kh")
        kw = te.reduce_axis(kernel_w, "kw")
        ic = te.reduce_axis(depth, "ic")

        def product(b: Expr, h: Expr, v: Expr, o: Expr) -> Expr:
            first = o // per_group * depth if per_group != channels else 0
            row, column = h * stride_h + kh.var * step_h, v * stride_w + kw.var * step_w
            pixel = image[b, row, column, ic.var + first]
            return te.sum(wide(pixel) * wide(w[o, kh.var, kw.var, ic.var]), axis=[kh, kw, ic])

        acc: Tensor = te.compute(ctx.out.shape, product, "acc")
        return result(acc.shape, lambda b, h, v, o: epilogue(acc[b, h, v, o], o))

    def macs(self, ctx: NodeContext) -> int:
        w = ctx.inputs[1]
        return ctx.out.elements * (w.elements // w.shape[0])


class DepthwiseConv2d(Weighted):
    """x [N, H, W, C], w [1, KH, KW, C * multiplier], bias: channel o reads o // multiplier."""

    name: ClassVar[str] = "depthwise_conv2d"

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 2, 3)
        window = _window(ctx)
        height, width = window.output_size(ctx)
        x, w = ctx.inputs[:2]
        multiplier = ctx.attr_int("multiplier")
        if multiplier < 1 or w.shape[0] != 1 or w.shape[3] != x.shape[3] * multiplier:
            raise ctx.fail(
                f"weights {list(w.shape)} with multiplier {multiplier} do not go with "
                f"{x.shape[3]} input channels"
            )
        check_operands(ctx, channel_axis=3)
        return [((x.shape[0], height, width, w.shape[3]), x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        multiplier = ctx.attr_int("multiplier")
        windows = _window(ctx).view(centred(ctx, inputs[0]), 0)
        w = inputs[1].astype(np.float64)[0]
        w = w.reshape(*w.shape[:2], -1, multiplier)
        sums = np.einsum("nhwyxc,yxcm->nhwcm", windows, w)
        return [finish(ctx, sums.reshape(*sums.shape[:3], -1), once=False)]

    def sum_ends(self, ctx: NodeContext, x: Interval) -> Interval:
        multiplier, zero = ctx.attr_int("multiplier"), ctx.inputs[0].zero
        low, high = (np.repeat(bound - zero, multiplier) for bound in (x.low, x.high))
        return _over_windows(ctx, *product_ends(ctx.constants[1][0], low, high))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        x, w = inputs[:2]
        epilogue = Epilogue(ctx, channel_axis=3, once=False)
        stride_h, stride_w = ctx.attr_ints("strides")
        step_h, step_w = ctx.attr_ints("dilation")
        multiplier = ctx.attr_int("multiplier")
        image = padded(x, ctx, border(ctx))
        kh = te.reduce_axis(w.shape[1], "kh")
        kw = te.reduce_axis(w.shape[2], "kw")

        def product(b: Expr, h: Expr, v: Expr, o: Expr) -> Expr:
            row, column = h * stride_h + kh.var * step_h, v * stride_w + kw.var * step_w
            pixel = image[b, row, column, o // multiplier]
            return te.sum(wide(pixel) * wide(w[0, kh.var, kw.var, o]), axis=[kh, kw])

        acc: Tensor = te.compute(ctx.out.shape, product, "acc")
        return result(acc.shape, lambda b, h, v, o: epilogue(acc[b, h, v, o], o))

    def macs(self, ctx: NodeContext) -> int:
        w = ctx.inputs[1]
        return ctx.out.elements * w.shape[1] * w.shape[2]


def _over_windows(ctx: NodeContext, low: Array, high: Array) -> Interval:
    """Ends of the sums over a window from those of each cell [KH, KW, channels].

    Cells outside the image count nothing: there the input is its zero point.
    """
    inside = _window(ctx).borders(*ctx.inputs[0].shape[1:3]).astype(np.int64)
    sums = [np.tensordot(inside, cells, axes=2) for cells in (low, high)]
    return Interval(sums[0].min(axis=0), sums[1].max(axis=0))


def _is_pointwise(ctx: NodeContext) -> bool:
    """Whether each output pixel is a product of one input pixel and the weights."""
    return (
        ctx.inputs[1].shape[1:3] == (1, 1)
        and ctx.attr_ints("strides") == (1, 1)
        and not any(ctx.attr_ints("padding"))
        and ctx.attr_int("groups") == 1
    )


def _compute_pointwise(x: Tensor, w: Tensor, epilogue: Epilogue) -> list[Tensor]:
    k = te.reduce_axis(w.shape[1], "k")
    acc: Tensor = te.compute(
        (x.shape[0], w.shape[0]),
        lambda p, o: te.sum(wide(x[p, k.var]) * wide(w[o, k.var]), axis=k),
        "acc",
    )
    return result(acc.shape, lambda p, o: epilogue(acc[p, o], o))


def _window(ctx: NodeContext) -> Window:
    w = ctx.inputs[1]
    if len(w.shape) != 4:
        raise ctx.fail(f"weights are of shape {list(w.shape)}, must have 4 dimensions")
    return Window.of(ctx, (w.shape[1], w.shape[2]))


def _import_conv2d(node: TfliteNode) -> None:
    values = node.operands(2, 3)
    channels, depth = _channels(node, values)
    node.add(
        "conv2d",
        values,
        attributes(
            **_geometry(node, values),
            groups=max(1, channels // depth),
            activation=node.activation(),
        ),
    )


def _import_depthwise(node: TfliteNode) -> None:
    values = node.operands(2, 3)
    channels, depth = _channels(node, values)
    node.add(
        "depthwise_conv2d",
        values,
        attributes(
            **_geometry(node, values),
            multiplier=max(1, depth // channels),
            activation=node.activation(),
        ),
    )


def _channels(node: TfliteNode, values: tuple[str, ...]) -> tuple[int, int]:
    """Last dimensions of image and weights, which both have four."""
    shapes = [node.type_of(v).shape for v in values[:2]]
    if any(len(shape) != 4 for shape in shapes):
        raise node.fail(
            f"input {list(shapes[0])} and weights {list(shapes[1])} must both have 4 dimensions",
            hint="a 1-D convolution is one over an image of width or height 1",
        )
    return shapes[0][3], shapes[1][3]


def _geometry(node: TfliteNode, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    x, w = (node.type_of(v).shape for v in values[:2])
    strides = (node.option_int("StrideH"), node.option_int("StrideW"))
    dilation = (node.option_int("DilationHFactor"), node.option_int("DilationWFactor"))
    padding = node.padding((x[1], x[2]), (w[1], w[2]), strides, dilation)
    return {"strides": strides, "dilation": dilation, "padding": padding}


OPS: tuple[Op, ...] = (Conv2d(), DepthwiseConv2d())

# The multiplier follows from the shapes, as in the reference; the bias' type from the bias.
TFLITE = {
    "CONV_2D": Importer(_import_conv2d, "Conv2DOptions", ignored=("QuantizedBiasType",)),
    "DEPTHWISE_CONV_2D": Importer(
        _import_depthwise, "DepthwiseConv2DOptions", ignored=("DepthMultiplier",)
    ),
}
