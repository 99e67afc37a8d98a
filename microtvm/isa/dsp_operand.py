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

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from microtvm.isa.pattern import Reduction
from microtvm.te.rewrite import rewritten
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Reduce, Tensor, compute, constant, reduce_axis, select
from microtvm.te.tensor import min as te_min
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import BinOp, Call, Cast, Expr, IntImm, Read, Select, binary
from microtvm.tir.intrinsic import SHORT_FORMS, call
from microtvm.tir.traversal import post_order, substitute, uses
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


def takes_pairs(values: Array) -> bool:
    """Whether weights [column, .., elements] can be stored in pairs: halfwords and sums fit."""
    odd = values[..., 1::2]
    return bool(odd.size == 0 or odd.min() > -128) and int(_reach(values).max()) < PAIRS_LIMIT


def _reach(values: Array) -> Array:
    """The largest |sum| of each column of weights in pairs, whose data is prepared for them."""
    flat = values.astype(np.int64).reshape(-1, values.shape[-1])
    odd, even = flat[:, 1::2], flat[:, 0::2]
    reach = np.abs(even).sum(axis=1) * 128 + np.abs(odd).sum(axis=1) * 255
    total: Array = reach.reshape(len(values), -1).sum(axis=1)
    return total


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
    """Replace the sum by one over operands in `form`; their layouts are still to be chosen.

    x: [.., pair, which] int16, the data's own dimensions but for the last. Elements beyond an end
    that is not a multiple of a group meet weights of zero.
    """
    stage = pattern.stage
    extent = operands.inner.extent
    count = -(-extent // GROUP) * (GROUP // 2)
    image = operands.data.source
    border = Border.of(schedule, image)
    last = IntImm(extent - 1)

    def word(element: Callable[[Expr], Expr], pair: Expr, which: Expr) -> Expr:
        def parity(k: Expr | int) -> Expr:
            at = pair * 2 + k
            return element(at if extent % GROUP == 0 else te_min(at, last)).astype("int32")

        return packed(form, parity, which)

    def x_element(*i: Expr) -> Expr:
        *index, pair, which = i
        if border is None:
            return word(lambda k: image[(*index, k)], pair, which)
        return select(
            border.inside((*index, IntImm(0))),
            word(lambda k: border.inner((*index, k)), pair, which),
            word(lambda k: border.beyond((*index, k)), pair, which),
        )

    x: Tensor = compute((*image.shape[:-1], count, 2), x_element, f"{image.name}_x")
    spare = [(0, 0)] * (operands.values.ndim - 1) + [(0, 2 * count - extent)]

    def lead(i: Sequence[Expr], around: Sequence[Expr]) -> list[Expr]:
        values: dict[Expr, Expr] = {a.var: v for a, v in zip(stage.axis, i, strict=True)}
        values |= {a.var: v for a, v in zip(operands.around, around, strict=True)}
        return [substitute(index, values) for index in operands.data.indices[:-1]]

    name = operands.weights.source.name
    return replace_sum(schedule, stage, form, x, np.pad(operands.values, spare), lead, name)


def replace_sum(
    schedule: Schedule,
    stage: Stage,
    form: str,
    x: Tensor,
    values: Array,
    lead: Callable[[Sequence[Expr], Sequence[Expr]], Sequence[Expr]],
    name: str,
    *,
    flat: bool = False,
) -> Product:
    """Let readers of the stage read its sum as one of x times `values` in `form`.

    values: int8 [column, *around, elements], a multiple of a group of them. `lead` gives the
    indices of x, but for pair and which, from those of the sum and of `around`. The result's w is
    [column, *around, pair] int16 (pairs), or [.., pair, parity] int8 or int16. With `flat` the new
    sum's rows are one axis.
    """
    extents = [a.extent for a in stage.axis]
    shape = (math.prod(extents[:-1]), extents[-1]) if flat else tuple(extents)

    def place_of(i: Sequence[Expr]) -> Sequence[Expr]:
        if not flat:
            return i
        row: Expr = IntImm(0)
        for index, extent in zip(i[:-1], extents[:-1], strict=True):
            row = row * extent + index
        return (row, i[-1])

    pairs = values.reshape(*values.shape[:-1], -1, 2)
    if form == "pairs":
        wide = pairs.astype(np.int32)
        stored: Array = (wide[..., 1] * 256 + wide[..., 0]).astype(np.int16)
    else:
        stored = pairs.astype(np.int16) if form == "wide" else pairs
    taps = constant(stored, name)
    # A stage of its own, so that its layout can be chosen.
    w: Tensor = compute(stored.shape, lambda *i: taps[i], f"{name}_w")
    outer = [reduce_axis(extent, f"k{d}") for d, extent in enumerate(values.shape[1:-1])]
    pair, which = reduce_axis(pairs.shape[-2], "pair"), reduce_axis(2, "which")

    old = stage.outputs[0]
    bias = _bias_of(schedule, old)
    start = np.zeros(len(values), np.int64)
    if form == "pairs":
        start += pairs[..., 1].reshape(len(values), -1).sum(axis=1, dtype=np.int64) * ODD_OFFSET
        if bias is not None and int((np.abs(start + bias) + _reach(values)).max()) >= PAIRS_LIMIT:
            bias = None
    if bias is not None:
        start += bias
    scaled = start * (256 if form == "pairs" else 1)
    init = constant(scaled.astype(np.int32), f"{stage.name}_start")

    def acc_element(*i: Expr) -> Expr:
        around = [o.var for o in outer]
        place = (i[-1], *around, pair.var)
        left = x[(*lead(i, around), pair.var, which.var)].astype("int32")
        right = factor(form, lambda *parity: w[(*place, *parity)], which.var)
        return te_sum(left * right, axis=[*outer, which, pair], init=init[i[-1]])

    acc: Tensor = compute(shape, acc_element, stage.name)
    readers = schedule.readers(old)
    if bias is not None:
        for reader in readers:
            reader.bodies = tuple(
                rewritten(b, lambda n: n.a if _adds_bias(n, old) else None) for b in reader.bodies
            )

    def value(*i: Expr) -> Expr:
        element: Expr = acc[tuple(place_of(i))]
        return element >> 8 if form == "pairs" else element

    schedule.replace(old, value)
    if form == "pairs":
        shift_less(readers, acc)
    return Product(x, w, acc)


def _adds_bias(node: Expr, old: Tensor) -> TypeGuard[BinOp]:
    """Whether a node is old[.., column] + constant[column]."""
    return (
        isinstance(node, BinOp)
        and node.op == "+"
        and isinstance(node.a, Read)
        and isinstance(node.b, Read)
        and node.a.source is old
        and node.b.dtype == "int32"
        and node.b.source.data is not None
        and node.b.indices == node.a.indices[-1:]
    )


def _bias_of(schedule: Schedule, old: Tensor) -> Array | None:
    """The constant that every reader of a sum adds to it, if it is the same one; else None."""
    found: dict[Tensor, None] = {}
    for reader in schedule.readers(old):
        for body in reader.bodies:
            nodes = post_order(body.value if isinstance(body, Reduce) else body)
            sums = [n for n in nodes if _adds_bias(n, old)]
            added = {id(n.a) for n in sums}
            if any(isinstance(n, Read) and n.source is old and id(n) not in added for n in nodes):
                return None
            found |= dict.fromkeys(n.b.source for n in sums if isinstance(n.b, Read))
    if len(found) != 1:
        return None
    data = next(iter(found)).data
    assert data is not None
    return data.astype(np.int64)


def shift_less(readers: Sequence[Stage], acc: Tensor) -> None:
    """Let short requantisations of acc >> n, which must be exact, read twice that: one shift less.

    They double their argument, and have a variant that does not. A constant may be added to it.
    """

    def step(node: Expr) -> Expr | None:
        if not isinstance(node, Call) or node.name not in SHORT_FORMS:
            return None
        twice = _twice(node.args[0], acc)
        return None if twice is None else call(f"{node.name}_doubled", twice, *node.args[1:])

    for reader in readers:
        reader.bodies = tuple(rewritten(b, step) for b in reader.bodies)


def _twice(value: Expr, acc: Tensor) -> Expr | None:
    """Twice acc >> n, or that plus an element of a constant; None for anything else."""
    if not isinstance(value, BinOp):
        return None
    left, right = value.a, value.b
    if value.op == "+" and isinstance(right, Read) and right.source.data is not None:
        wide = right.source.data.astype(np.int64) * 2
        first = _twice(left, acc)
        if first is None or not np.array_equal(wide, wide.astype(right.source.data.dtype)):
            return None
        doubled = constant(wide.astype(right.source.data.dtype), f"{right.source.name}_doubled")
        return first + Read(doubled, right.indices)
    if value.op != ">>" or not isinstance(left, Read) or left.source is not acc:
        return None
    return left >> (right.value - 1) if isinstance(right, IntImm) and right.value > 0 else None


@dataclass(frozen=True)
class Border:
    """A padded image: what its elements are inside, which a condition tells, and beyond.

    The condition is a conjunction of comparisons of indices but the last: inside is a box.
    """

    axes: tuple[Expr, ...]
    condition: Expr
    within: Expr
    without: Expr

    @staticmethod
    def of(schedule: Schedule, image: Tensor) -> Border | None:
        """The border of a tensor; None if it is not padded, or by its last index."""
        stage = schedule.producer(image)
        if stage is None or stage.reduce_axis:
            return None
        body = stage.bodies[0]
        axes = tuple(a.var for a in stage.axis)
        if not isinstance(body, Select) or uses(body.cond, axes[-1:]) or not _is_box(body.cond):
            return None
        return Border(axes, body.cond, body.on_true, body.on_false)

    def _at(self, part: Expr, index: Sequence[Expr]) -> Expr:
        return substitute(part, dict(zip(self.axes, index, strict=True)))

    def inside(self, index: Sequence[Expr]) -> Expr:
        """Whether an index is inside; the last one does not matter."""
        return self._at(self.condition, index)

    def inner(self, index: Sequence[Expr]) -> Expr:
        """An element that is inside."""
        return self._at(self.within, index)

    def beyond(self, index: Sequence[Expr]) -> Expr:
        """An element that is not."""
        return self._at(self.without, index)


def _is_box(cond: Expr) -> bool:
    """Whether a condition is a conjunction of comparisons."""
    if not isinstance(cond, BinOp):
        return False
    if cond.op == "and":
        return _is_box(cond.a) and _is_box(cond.b)
    return cond.op in ("<", "<=", ">", ">=")
