"""Operands of a sum of int8 products, in the forms in which SMLAD takes them.

A word holds two halfwords, and SMLAD takes both products. The elements along the innermost
reduction axis go in pairs (an even and an odd one), two pairs make a group of four. `wide`: both
operands are widened to 16 bits, the evens of a group in one word, the odds in another: that is how
SXTB16 unpacks four bytes. `narrow`: the same, but the weights stay bytes and are unpacked by the
tile.

`pairs`: a pair of weights is one halfword h = 256 * odd + even, as many bytes as before, and

    256 * (even * x0 + odd * x1) = h * x1 + even * (256 * x0 - x1)

where the low byte of h is the even one. So one word meets both data words, and one SXTB16 unpacks
two pairs. 256 * x0 - x1 leaves 16 bits for some x; with x1 - 127 in the place of x1 it does not,
and 127 times the sum of the odd weights is added at the end. The sum must stay below 2**23.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm.isa.pattern import Reduction
from microtvm.te.schedule import Schedule
from microtvm.te.tensor import IterVar, Reduce, Tensor, compute, constant, reduce_axis, select
from microtvm.te.tensor import min as te_min
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import BinOp, Cast, Expr, IntImm, Read, Select, binary
from microtvm.tir.traversal import substitute, uses
from microtvm.util import Array

GROUP = 4
"""Products that two words of data hold."""

FORMS = ("pairs", "narrow", "wide")
PAIRS_LIMIT = (1 << 23) - (1 << 10)
ODD_OFFSET = 127


def low_byte(halfword: Expr) -> Expr:
    """The sign-extended low byte of an int32 that holds a halfword."""
    return binary("-", binary("^", binary("&", halfword, IntImm(255)), IntImm(128)), IntImm(128))


@dataclass(frozen=True)
class Operands:
    """A sum of int32(data) * int32(weights), both int8: where each is read.

    The last index of each is the same reduction axis, alone; `around` are the other ones.
    """

    data: Read
    weights: Read
    around: tuple[IterVar, ...]
    inner: IterVar
    values: Array
    """The weights, as they are stored: column first, then `around`, then `inner`."""

    @staticmethod
    def of(schedule: Schedule, pattern: Reduction) -> Operands | None:
        """The operands of a product; None for anything else."""
        stage = pattern.stage
        body = stage.bodies[0]
        if not pattern.is_product or not isinstance(body, Reduce):
            return None
        if body.kind != "sum" or body.dtype != "int32":
            return None
        value = body.value
        if not isinstance(value, BinOp) or value.op != "*":
            return None
        reads: dict[bool, Read] = {}
        for side in (value.a, value.b):
            if not isinstance(side, Cast) or not isinstance(side.value, Read):
                return None
            reads[side.value.source in pattern.weights] = side.value
        if len(reads) != 2 or any(r.dtype != "int8" for r in reads.values()):
            return None
        data, weights = reads[False], reads[True]
        column = stage.axis[-1]
        *around, inner = stage.reduce_axis
        if (
            weights.source.data is None
            or weights.indices != (column.var, *(a.var for a in around), inner.var)
            or data.indices[-1] is not inner.var
        ):
            return None
        return Operands(data, weights, tuple(around), inner, weights.source.data)

    def takes_pairs(self) -> bool:
        """Whether the weights can be stored in pairs: halfwords and sums stay in their bounds."""
        flat = self.values.astype(np.int64).reshape(self.values.shape[0], -1, self.inner.extent)
        odd, even = flat[..., 1::2], flat[..., 0::2]
        reach = np.abs(even).sum(axis=(1, 2)) * 128 + np.abs(odd).sum(axis=(1, 2)) * 255
        return bool(odd.size == 0 or odd.min() > -128) and int(reach.max()) < PAIRS_LIMIT


def packed(form: str, element: Callable[[Expr | int], Expr], which: Expr) -> Expr:
    """What stands in a word of data for a pair, whose int32 elements are element(0), element(1)."""
    if form == "pairs":
        even, odd = element(0), element(1)
        first, second = even * 256 - odd + ODD_OFFSET, odd - ODD_OFFSET
        return select(binary("==", which, IntImm(0)), first, second).astype("int16")
    return element(which).astype("int16")


def factor(form: str, weight: Callable[..., Expr], which: Expr) -> Expr:
    """What meets a word of data, as int32: of a pair of weights, or the weight of its parity."""
    if form == "pairs":
        halfword = weight().astype("int32")
        return select(binary("==", which, IntImm(0)), low_byte(halfword), halfword)
    return weight(which).astype("int32")


@dataclass(frozen=True, eq=False)
class Product:
    """The sum as the tiles take it: `x` and `w` are the operands' tensors, `acc` the sum's."""

    x: Tensor
    w: Tensor
    acc: Tensor


def rewrite(schedule: Schedule, pattern: Reduction, operands: Operands, form: str) -> Product:
    """Replace the sum by one over operands in `form`, which their layouts are still to be chosen
    for.

    x: [.., pair, which] int16; w: [column, .., pair] int16 (pairs), [column, .., pair, parity] int8
    or int16; the reduction goes over `around`, pairs and the two words. Elements beyond
    an end that is not a multiple of a group meet weights of zero.
    """
    stage = pattern.stage
    extent = operands.inner.extent
    count = -(-extent // GROUP) * (GROUP // 2)
    image, taps = operands.data.source, operands.weights.source
    outside = _outside(schedule, image)
    last = IntImm(extent - 1)

    def within(k: Expr) -> Expr:
        return k if extent % GROUP == 0 else te_min(k, last)

    def word(element: Callable[[Expr], Expr], pair: Expr, which: Expr) -> Expr:
        return packed(
            form, lambda parity: element(within(pair * 2 + parity)).astype("int32"), which
        )

    def x_element(*i: Expr) -> Expr:
        *index, pair, which = i
        if outside is None:
            return word(lambda k: image[(*index, k)], pair, which)
        cond, inner, border = (at(index) for at in outside)
        return select(
            cond(IntImm(0)),
            word(inner, pair, which),
            word(border, pair, which),
        )

    def w_element(*i: Expr) -> Expr:
        if form == "pairs":
            *index, pair = i
            return (weight(index, pair * 2 + 1) * 256 + weight(index, pair * 2)).astype("int16")
        *index, pair, which = i
        value = weight(index, pair * 2 + which)
        return value.astype("int16" if form == "wide" else "int8")

    def weight(index: Sequence[Expr], k: Expr) -> Expr:
        value = taps[(*index, within(k))].astype("int32")
        return value if extent % GROUP == 0 else select(binary("<", k, IntImm(extent)), value, 0)

    x: Tensor = compute((*image.shape[:-1], count, 2), x_element, f"{image.name}_x")
    shape = (*taps.shape[:-1], count) if form == "pairs" else (*taps.shape[:-1], count, 2)
    w: Tensor = compute(shape, w_element, f"{taps.name}_w")
    outer = [reduce_axis(a.extent, a.name) for a in operands.around]
    pair, which = reduce_axis(count, "pair"), reduce_axis(2, "which")

    def acc_element(*i: Expr) -> Expr:
        values: dict[Expr, Expr] = {a.var: v for a, v in zip(stage.axis, i, strict=True)}
        values |= {a.var: o.var for a, o in zip(operands.around, outer, strict=True)}
        lead = [substitute(index, values) for index in operands.data.indices[:-1]]
        place = (i[-1], *(o.var for o in outer), pair.var)
        left = x[(*lead, pair.var, which.var)].astype("int32")
        right = factor(form, lambda *parity: w[(*place, *parity)], which.var)
        return te_sum(left * right, axis=[*outer, pair, which])

    acc: Tensor = compute(tuple(a.extent for a in stage.axis), acc_element, stage.name)
    if form == "pairs":
        flat = operands.values.astype(np.int64)
        odd = flat[..., 1::2].reshape(flat.shape[0], -1).sum(axis=1) * ODD_OFFSET
        offset = constant(odd.astype(np.int32), f"{stage.name}_offset")
        schedule.replace(stage.outputs[0], lambda *i: (acc[i] >> 8) + offset[i[-1]])
    else:
        schedule.replace(stage.outputs[0], lambda *i: acc[i])
    return Product(x, w, acc)


At = Callable[[Sequence[Expr]], Callable[[Expr], Expr]]
Outside = tuple[At, At, At]


def _outside(schedule: Schedule, image: Tensor) -> Outside | None:
    """A padded image as a condition, what holds inside, and what beyond; None if it is not padded.

    Each takes the indices but the last; the condition does not depend on that one.
    """
    stage = schedule.producer(image)
    if stage is None or stage.reduce_axis:
        return None
    body = stage.bodies[0]
    last = stage.axis[-1].var
    if not isinstance(body, Select) or uses(body.cond, (last,)):
        return None
    axes = [a.var for a in stage.axis]
    cond, inner, border = body.cond, body.on_true, body.on_false

    def at(part: Expr) -> Callable[[Sequence[Expr]], Callable[[Expr], Expr]]:
        return lambda index: lambda k: substitute(part, dict(zip(axes, (*index, k), strict=True)))

    return at(cond), at(inner), at(border)
