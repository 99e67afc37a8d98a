"""Pieces of tensor expressions that several operators are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from microtvm import te
from microtvm.ops.base import NodeContext, float_activation
from microtvm.ops.requantize import parameter
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, FloatImm, IntImm
from microtvm.util import Array


def result(shape: Sequence[int], element: Callable[..., Expr]) -> list[Tensor]:
    """The one output of an operator, named y: its element at an index is `element(*index)`."""
    return [te.compute(shape, element, "y")]


def bordered(
    x: Tensor, before: Sequence[int], after: Sequence[int], fill: Expr, name: str
) -> Tensor:
    """x with `before` and `after` elements of the value `fill` added to each axis.

    x itself where there is nothing to add.
    """
    if not any(before) and not any(after):
        return x

    def element(*index: Expr) -> Expr:
        conditions = []
        for i, first, n, last in zip(index, before, x.shape, after, strict=True):
            if first:
                conditions.append(i >= first)
            if last:
                conditions.append(i < n + first)
        inside = x[tuple(i - first for i, first in zip(index, before, strict=True))]
        return te.select(te.all(*conditions), inside, fill)

    shape = [b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]
    made: Tensor = te.compute(shape, element, name)
    return made


def padded(x: Tensor, ctx: NodeContext, fill: Expr) -> Tensor:
    """x [N, H, W, C] with the node's `padding` (top, bottom, left, right) filled."""
    top, bottom, left, right = ctx.attr_ints("padding")
    return bordered(x, (0, top, left, 0), (0, bottom, right, 0), fill, "x_pad")


def broadcast_read(t: Tensor, index: Sequence[Expr]) -> Expr:
    """The element of t for an index of the shape that t broadcasts to."""
    own = index[len(index) - len(t.shape) :]
    return t[tuple(IntImm(0) if n == 1 else i for i, n in zip(own, t.shape, strict=True))]


def centred_read(value: Expr, zero: int, name: str) -> Expr:
    """A quantised element less its zero point, as int32. `name` is the zero point's parameter."""
    return value.astype("int32") - parameter(name, zero)


def float_clamp(value: Expr, activation: str) -> Expr:
    """A float32 value limited by an activation; not-a-number stays."""
    low, high = float_activation(activation)
    if low != -np.inf:
        value = te.max(value, FloatImm(low))
    return te.min(value, FloatImm(high)) if high != np.inf else value


def clamp_from_low(value: Expr, low: float, high: float) -> Expr:
    """A float32 value limited to low..high; not-a-number becomes `low`."""
    return te.min(te.max(FloatImm(low), value), FloatImm(high))


def table_read(values: Array, value: Expr) -> Expr:
    """The entry of a table for an 8-bit element; entry 0 belongs to the lowest element."""
    lowest = int(np.iinfo(value.dtype).min)
    return te.constant(values, "table")[value.astype("int32") - lowest]
