"""Sums of products of 8-bit integers by their shape: matrices, and windows of images."""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.isa.pattern import Reduction
from microtvm.te.tensor import Reduce, Tensor
from microtvm.tir.expr import BinOp, Cast, Expr, Read
from microtvm.tir.simplify import Linear
from microtvm.tir.traversal import post_order


@dataclass(frozen=True)
class Operands:
    """The two tensors of a product, with the axes that index them."""

    data: Tensor
    weights: Tensor


def product_operands(
    pattern: Reduction, dtype: str = "int8", acc_dtype: str = "int32"
) -> Operands | None:
    """The operands of a sum of data * weights, both of `dtype`; None for anything else."""
    body = pattern.stage.bodies[0]
    if not isinstance(body, Reduce) or body.kind != "sum" or body.dtype != acc_dtype:
        return None
    value = body.value
    if not isinstance(value, BinOp) or value.op != "*":
        return None
    reads: list[Read] = []
    for side in (value.a, value.b):
        if acc_dtype != dtype:
            if not isinstance(side, Cast):
                return None
            side = side.value
        if not isinstance(side, Read):
            return None
        reads.append(side)
    tensors: list[Tensor] = [r.source for r in reads]
    if (
        any(t.dtype != dtype for t in tensors)
        or len(pattern.data) != 1
        or len(pattern.weights) != 1
    ):
        return None
    return Operands(pattern.data[0], pattern.weights[0])


@dataclass(frozen=True)
class Window:
    """A convolution's geometry; `step_h` is the dilation of the kernel's rows."""

    kernel_h: int
    kernel_w: int
    channels: int
    stride_w: int
    step_h: int

    def reach(self, width: int) -> int:
        """Columns of input that `width` outputs read."""
        return (width - 1) * self.stride_w + self.kernel_w


def window_of(pattern: Reduction, operands: Operands) -> Window | None:
    """The geometry of a convolution without dilation along the rows and without groups, or None."""
    acc = pattern.stage
    if len(acc.axis) != 4 or len(acc.reduce_axis) != 3 or not pattern.is_product:
        return None
    body = acc.bodies[0]
    assert isinstance(body, Reduce)
    data, weights = read_of(body.value, operands.data), read_of(body.value, operands.weights)
    if data is None or weights is None:
        return None
    _batch, row, width, channel = acc.axis
    kh, kw, ic = acc.reduce_axis
    if weights.indices != (channel.var, kh.var, kw.var, ic.var) or data.indices[3] is not ic.var:
        return None
    along = Linear.of(data.indices[2])
    if along.terms.get(kw.var) != 1 or set(along.terms) != {kw.var, width.var} or along.constant:
        return None
    down = Linear.of(data.indices[1])
    if set(down.terms) != {kh.var, row.var} or down.constant:
        return None
    return Window(kh.extent, kw.extent, ic.extent, along.terms[width.var], down.terms[kh.var])


def plain_matrix(pattern: Reduction, operands: Operands) -> bool:
    """x[row, k] * w[column, k], each index an axis."""
    acc = pattern.stage
    if len(acc.axis) != 2 or len(acc.reduce_axis) != 1 or not pattern.is_product:
        return False
    body = acc.bodies[0]
    assert isinstance(body, Reduce)
    data, weights = read_of(body.value, operands.data), read_of(body.value, operands.weights)
    (k,) = acc.reduce_axis
    return (
        data is not None
        and weights is not None
        and data.indices == (acc.axis[0].var, k.var)
        and weights.indices == (acc.axis[1].var, k.var)
    )


def read_of(value: Expr, tensor: Tensor) -> Read | None:
    """The first read of a tensor in an expression."""
    return next((n for n in post_order(value) if isinstance(n, Read) and n.source is tensor), None)
