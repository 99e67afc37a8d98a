"""PAD and PADV2: a border of one value, copied without rescaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, attributes
from microtvm.ops.expression import bordered, result
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, FloatImm, Param
from microtvm.util import Array

MAX_RANK = 5
"""Of the reference's kernel."""


class Pad(Op):
    """`before` and `after`: elements added to each axis, all of the stored value `value`."""

    name: ClassVar[str] = "pad"
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1)
        (x,) = ctx.inputs
        before, after = ctx.attr_ints("before"), ctx.attr_ints("after")
        rank = len(x.shape)
        if not 1 <= rank <= MAX_RANK:
            raise ctx.fail(f"input is {check.describe(x)}; supported: rank 1 to {MAX_RANK}")
        if len(before) != rank or len(after) != rank:
            raise ctx.fail(
                f"pads {len(before)} axes before and {len(after)} after, the input has {rank}"
            )
        if min(*before, *after) < 0:
            raise ctx.fail(f"negative padding: {list(before)} before, {list(after)} after")
        value = ctx.node.attrs["value"]
        if x.dtype != "float32":
            info = np.iinfo("uint8" if x.dtype == "bool" else x.dtype)
            if not isinstance(value, int) or not info.min <= value <= info.max:
                raise ctx.fail(f"pads with {value}, which {x.dtype} can't hold")
        shape = tuple(b + n + a for b, n, a in zip(before, x.shape, after, strict=True))
        return [(shape, x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        (x,) = inputs
        widths = list(zip(ctx.attr_ints("before"), ctx.attr_ints("after"), strict=True))
        value = np.asarray(ctx.node.attrs["value"]).astype(x.dtype)
        return [np.pad(x, widths, constant_values=value)]

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = inputs
        value = ctx.node.attrs["value"]
        if x.dtype == "float32":
            fill: Expr = FloatImm(ctx.attr_float("value"))
        else:
            assert isinstance(value, int)
            fill = Param("fill", value, "int64" if x.dtype == "int64" else "int32").astype(x.dtype)
        y = bordered(x, ctx.attr_ints("before"), ctx.attr_ints("after"), fill, "y")
        return [y] if y is not x else result(x.shape, lambda *i: x[i])


def _import(node: TfliteNode) -> None:
    x = node.operands(2, 3)[0]
    rank = len(node.type_of(x).shape)
    widths = node.constant_ints(1)
    if len(widths) != 2 * rank:
        raise node.fail(f"{len(widths)} paddings for a tensor of rank {rank}, must be {2 * rank}")
    node.add(
        "pad",
        (x,),
        attributes(before=widths[0::2], after=widths[1::2], value=_border(node)),
    )


def _border(node: TfliteNode) -> int | float:
    """PAD: real zero in the output's quantisation. PADV2: the third input, of that quantisation."""
    out = node.type_of(node.outputs[0])
    if len(node.inputs) < 3:
        if out.dtype == "float32":
            return 0.0
        return 0 if out.quant is None else out.zero
    value = node.operands(3)[2]
    array = node.constant(value)
    if array is None or array.size != 1:
        raise node.fail("input 2, the padding's value, must be one constant")
    kind = node.type_of(value)
    if kind.dtype != out.dtype or kind.quant != out.quant:
        raise node.fail(
            f"the padding's value is {kind.dtype} of {kind.quant}, "
            f"the output {out.dtype} of {out.quant}",
            hint="the reference refuses the model too: convert it again",
        )
    element = array.reshape(())[()]
    return float(element) if out.dtype == "float32" else int(element)


OPS: tuple[Op, ...] = (Pad(),)

TFLITE = {"PAD": Importer(_import, "PadOptions"), "PADV2": Importer(_import, "PadV2Options")}
