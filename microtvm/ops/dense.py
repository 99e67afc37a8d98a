"""The fully connected layer: a matrix product with the transpose of constant weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from microtvm import te
from microtvm.ops import check
from microtvm.ops.base import NodeContext, Op, Views, attributes
from microtvm.ops.expression import result
from microtvm.ops.interval import Interval
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.ops.weighted import (
    Epilogue,
    Weighted,
    centred,
    check_operands,
    finish,
    product_ends,
    wide,
)
from microtvm.te.tensor import Tensor
from microtvm.util import Array


class Dense(Weighted):
    """x, w [O, K], bias [O]: x is read as rows of K elements.

    The output is [rows, O]; with `keep_dims`, the input's last dimension is K and only it is
    replaced.
    """

    name: ClassVar[str] = "dense"
    once: ClassVar[bool] = True

    def infer(self, ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
        check.input_count(ctx, 2, 3)
        x, w = ctx.inputs[:2]
        if len(w.shape) != 2:
            raise ctx.fail(f"weights are of shape {list(w.shape)}, must have 2 dimensions")
        check_operands(ctx, channel_axis=0)
        outputs, depth = w.shape
        keep = bool(ctx.node.attrs["keep_dims"])
        if x.elements % depth != 0 or (keep and x.shape[-1:] != (depth,)):
            raise ctx.fail(f"input {list(x.shape)} does not go with weights {list(w.shape)}")
        rows = x.shape[:-1] if keep else (x.elements // depth,)
        return [((*rows, outputs), x.dtype)]

    def evaluate(self, ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
        w = inputs[1].astype(np.float64)
        rows = centred(ctx, inputs[0]).reshape(-1, w.shape[1])
        return [finish(ctx, rows @ w.T, once=True).reshape(ctx.out.shape)]

    def sum_ends(self, ctx: NodeContext, x: Interval) -> Interval:
        w, kind = ctx.constants[1], ctx.inputs[0]
        low, high = (
            np.broadcast_to(bound, kind.shape).reshape(-1, w.shape[1]) - kind.zero
            for bound in (x.low, x.high)
        )
        products = product_ends(w, low.min(axis=0), high.max(axis=0))
        return Interval(products[0].sum(axis=1), products[1].sum(axis=1))

    def views(self, ctx: NodeContext) -> Views:
        """x [rows, K], y [rows, O]."""
        x, w = ctx.inputs[:2]
        channels, depth = w.shape
        rows = x.elements // depth
        rest = tuple(t.shape for t in ctx.inputs[1:])
        return Views(((rows, depth), *rest), ((rows, channels),))

    def compute(self, ctx: NodeContext, inputs: Sequence[Tensor]) -> list[Tensor]:
        x, w = inputs[:2]
        epilogue = Epilogue(ctx, channel_axis=0, once=True)
        k = te.reduce_axis(w.shape[1], "k")
        acc: Tensor = te.compute(
            (x.shape[0], w.shape[0]),
            lambda r, o: te.sum(wide(x[r, k.var]) * wide(w[o, k.var]), axis=k),
            "acc",
        )
        return result(acc.shape, lambda r, o: epilogue(acc[r, o], o))

    def macs(self, ctx: NodeContext) -> int:
        return ctx.out.elements * ctx.inputs[1].shape[1]


def _import_dense(node: TfliteNode) -> None:
    if node.option_int("WeightsFormat") != 0:
        node.report("shuffled weights are not supported")
    node.add(
        "dense",
        node.operands(2, 3),
        attributes(activation=node.activation(), keep_dims=node.option_bool("KeepNumDims")),
    )


OPS: tuple[Op, ...] = (Dense(),)

TFLITE = {
    "FULLY_CONNECTED": Importer(
        _import_dense,
        "FullyConnectedOptions",
        # The first is for hybrid models, which are refused; the bias' type follows from the bias.
        ignored=("AsymmetricQuantizeInputs", "QuantizedBiasType"),
    ),
}
