"""CONCATENATION: inputs one after the other along an axis, copied without rescaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, attributes
from microtvm.ops.expression import result
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr
from microtvm.util import Array


class Concat(Op):
    """Inputs of one dtype and one quantisation, equal in every dimension but `axis`."""

    name: ClassVar[str] = "concat"
    monotone: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 1, max(1, len(ctx.inputs)))
        check.dtypes(ctx, ctx.inputs, check.data_types())
        if ctx.attr_str("activation") != "none":
            raise ctx.fail(
                f"activation {ctx.attr_str('activation')!r} can't be fused",
                hint="the reference refuses it too; use an operator of its own",
            )
        first = ctx.inputs[0]
        axis = ctx.attr_int("axis")
        check.axis(ctx, axis, len(first.shape))
        for i, t in enumerate(ctx.inputs):
            if t.shape[:axis] + t.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
                raise ctx.fail(
                    f"input {i} is {check.describe(t)}, input 0 {check.describe(first)}: "
                    f"they must differ in axis {axis} only"
                )
            if t.quant != ctx.out.quant:
                raise ctx.fail(
                    f"input {i} has {t.quant}, the output {ctx.out.quant}; they must be equal",
                    hint="the reference refuses the model too; insert QUANTIZE before the operator",
                )
        length = sum(t.shape[axis] for t in ctx.inputs)
        return [((*first.shape[:axis], length, *first.shape[axis + 1 :]), first.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        return [np.concatenate(inputs, axis=ctx.attr_int("axis"))]

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        axis = ctx.attr_int("axis")
        ends = np.cumsum([t.shape[axis] for t in inputs]).tolist()

        def element(*i: Expr) -> Expr:
            # Lowering splits the loop at the borders, so that nothing is tested inside it.
            value: Expr | None = None
            for t, end in reversed(list(zip(inputs, ends, strict=True))):
                own = t[(*i[:axis], i[axis] - (end - t.shape[axis]), *i[axis + 1 :])]
                value = own if value is None else te.select(i[axis] < end, own, value)
            assert value is not None
            return value

        return result(ctx.out.shape, element)


def _import(node: TfliteNode) -> None:
    values = node.operands(1, len(node.inputs))
    rank = len(node.type_of(values[0]).shape)
    axis = node.option_int("Axis")
    node.add(
        "concat",
        values,
        attributes(axis=axis + rank if axis < 0 else axis, activation=node.activation()),
    )


OPS: tuple[Op, ...] = (Concat(),)

TFLITE = {"CONCATENATION": Importer(_import, "ConcatenationOptions")}
