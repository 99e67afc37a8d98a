"""Convolutions of 3x3 by Winograd's F(2x2, 3x3), exactly, in integers.

Four outputs, two by two, take 16 products for each pair of channels where the direct form takes 36
(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015):

    V = B^T d B          of each 4x4 patch d of the input
    U = (2G) g (2G)^T    of each filter g, at compile time
    M = sum over channels of V * U
    Y = A^T M A          is four times the outputs: G has halves, 2G has none

Every element of V is a sum of four int8 values with signs, every element of U at most 1152: both
are int16, and M is the product that the tiles of the DSP extension compute, of weights that are
wide: it is 16 matrix products of patches and channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microtvm.isa.dsp_cost import instructions_per_product
from microtvm.isa.dsp_layout import COLUMNS, ROWS, WORD, pack, tensorize
from microtvm.isa.dsp_operand import GROUP, Border, Operands, shift_less
from microtvm.isa.dsp_tile import MAX_OFFSET, Tile
from microtvm.isa.dsp_transform import (
    ENDS,
    KERNEL,
    PATCH,
    STEP,
    filter_element,
    filter_transform,
    filters,
    input_transform,
    output_element,
    output_transform,
    patch_element,
)
from microtvm.isa.padded_rows import CHUNK, interleave_rows, padded_rows
from microtvm.isa.pattern import Reduction
from microtvm.isa.template import Cost, Expression, Knob
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import (
    IterVar,
    Tensor,
    compute,
    constant,
    reduce_axis,
)
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import Expr
from microtvm.tir.simplify import Linear
from microtvm.util import Array

LARGEST_V = 4 * 128
"""The largest |element| of V."""

PATCH_COST, FILTER_COST, OUTPUT_COST = 34, 31, 2
"""Instructions: to transform a patch or a filter of one channel, and for an output beyond its
products."""

MOST_BYTES, ENOUGH = 16384, 16
"""Transforms of patches that may wait for filters: their bytes, and how many patches make the
filters' share small."""

FILTERS: dict[str, tuple[Knob, ...]] = {"stored": (False, True)}
"""Whether filters are transformed at compile time, and take more flash, or at run time."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A convolution that F(2x2, 3x3) computes, and how."""

    pattern: Reduction
    out: Stage
    operands: Operands
    border: Border | None
    tile: Tile
    filters: Array
    chunk: int
    """Bytes in which rows are copied."""
    together: int
    """Rows of patches that filters may be transformed for at run time; 0 where they can't be."""

    @staticmethod
    def of(expression: Expression) -> Plan | None:
        """None for anything that the template can't take."""
        if expression.single is None:
            return None
        pattern, out = expression.single
        schedule, stage = expression.schedule, pattern.stage
        operands = Operands.of(schedule, pattern)
        if operands is None or not _is_convolution(stage, operands):
            return None
        image = operands.data.source
        border = Border.of(schedule, image)
        if border is None and schedule.producer(image) is not None:
            return None
        patches = stage.axis[2].extent // STEP
        rows = next((r for r in (ROWS, 3) if patches % r == 0), min(patches, ROWS))
        tile = Tile(
            form="wide",
            rows=rows,
            columns=min(COLUMNS, stage.axis[3].extent),
            groups=operands.inner.extent // GROUP,
            x_row=WORD,
            x_half=WORD * rows,
            x_group=2 * WORD * rows * PATCH * PATCH,
            fresh=True,
        )
        stored = filters(operands.values)
        parts = np.abs(stored.astype(np.int64)).sum(axis=3) * np.outer(ENDS, ENDS)
        most = LARGEST_V * int(parts.sum(axis=(1, 2)).max())
        if not tile.fits or most >= 1 << 31:
            return None
        chunk = math.gcd(operands.inner.extent, CHUNK)
        return Plan(pattern, out, operands, border, tile, stored, chunk, _together(stage, tile))


def _together(stage: Stage, tile: Tile) -> int:
    """The most rows of patches, of those that divide, whose transforms stay within MOST_BYTES; but
    no more than ENOUGH patches, where a row has not more."""
    _, height, width, _ = (a.extent for a in stage.axis)
    high, wide = height // STEP, -(-width // STEP // tile.rows) * tile.rows
    row_bytes = wide * PATCH * PATCH * tile.groups * GROUP * 2
    # Offsets of the elements of a filter must be encodable.
    if tile.groups * tile.w_group * (PATCH * PATCH - 1) > MAX_OFFSET:
        return 0
    fitting = [
        r
        for r in range(1, high + 1)
        if high % r == 0 and r * row_bytes <= MOST_BYTES and (r == 1 or r * wide <= ENOUGH)
    ]
    return max(fitting, default=0)


def winograd_cost(expression: Expression, knobs: Mapping[str, Knob]) -> Cost | None:
    """As `product_cost`; what transforms take beside the products was counted in kernels."""
    plan = Plan.of(expression)
    if plan is None:
        return None
    batch, height, width, columns = (a.extent for a in plan.pattern.stage.axis)
    patches = batch * (height // STEP) * (width // STEP)
    channels = plan.operands.inner.extent
    products = patches * PATCH * PATCH * channels * columns
    transforms = patches * channels * PATCH_COST + patches * STEP * STEP * columns * OUTPUT_COST
    size = plan.filters.nbytes
    if not knobs["stored"]:
        if not plan.together:
            return None
        times = batch * (height // STEP) // plan.together
        transforms += times * columns * channels * FILTER_COST
        size = plan.operands.values.nbytes
    rate = instructions_per_product("wide")
    return Cost(size, products * rate + transforms)


@dataclass(frozen=True, eq=False)
class Product:
    """The sum as the algorithm has it, tensor by tensor; their layouts are still to be chosen."""

    rows: Tensor
    """The image's, padded: [batch, row, element]."""
    v: Tensor
    """Patches transformed: [batch, row of patches, patch, r, s, pair, which]."""
    u: Tensor
    """Filters transformed: [column, r, s, pair, which]."""
    m: Tensor
    """Their products, summed over channels: [batch, row of patches, patch, r, s, column]."""
    y: Tensor
    """Four times the outputs: [batch, row of patches, patch, row, pixel, column]."""


def rewrite(schedule: Schedule, plan: Plan) -> Product:
    """Let readers of the sum read what Winograd's algorithm gives."""
    stage, operands = plan.pattern.stage, plan.operands
    batch, height, width, columns = (a.extent for a in stage.axis)
    channels, image = operands.inner.extent, operands.data.source
    high, wide, pairs = height // STEP, width // STEP, channels // 2
    reach = (-(-wide // plan.tile.rows) * plan.tile.rows * STEP + KERNEL - 1) * channels
    rows = padded_rows(image, plan.border, reach, plan.chunk)

    def v_element(b: Expr, i: Expr, j: Expr, r: Expr, c: Expr, pair: Expr, which: Expr) -> Expr:
        def at(row: int, column: int) -> Expr:
            place = (j * STEP + column) * channels + pair * 2 + which
            element: Expr = rows[b, i * STEP + row, place]
            return element.astype("int32")

        return patch_element(at, r, c).astype("int16")

    shape = (batch, high, wide, PATCH, PATCH)
    v: Tensor = compute((*shape, pairs, 2), v_element, f"{image.name}_v")
    u = _filters(plan)
    pair, which = reduce_axis(pairs, "pair"), reduce_axis(2, "which")

    def m_element(b: Expr, i: Expr, j: Expr, r: Expr, c: Expr, o: Expr) -> Expr:
        left = v[b, i, j, r, c, pair.var, which.var].astype("int32")
        right = u[o, r, c, pair.var, which.var].astype("int32")
        return te_sum(left * right, axis=[which, pair])

    m: Tensor = compute((*shape, columns), m_element, f"{stage.name}_m")

    def y_element(b: Expr, i: Expr, j: Expr, p: Expr, q: Expr, o: Expr) -> Expr:
        return output_element(lambda r, c: m[b, i, j, r, c, o], p, q)

    y: Tensor = compute((batch, high, wide, STEP, STEP, columns), y_element, f"{stage.name}_y")

    def value(b: Expr, h: Expr, w: Expr, o: Expr) -> Expr:
        quadruple: Expr = y[b, h // STEP, w // STEP, h % STEP, w % STEP, o]
        return quadruple >> 2

    old = stage.outputs[0]
    readers = schedule.readers(old)
    schedule.replace(old, value)
    shift_less(readers, y)
    return Product(rows, v, u, m, y)


def _filters(plan: Plan) -> Tensor:
    """Filters transformed, from the constant as it is stored.

    They are computed at compile time, where the stage is not put into another's loops.
    """
    values, name = plan.operands.values, plan.operands.weights.source.name
    columns, channels = values.shape[0], values.shape[-1]
    groups = values.reshape(columns, KERNEL, KERNEL, channels // GROUP, GROUP)
    # The words of a group of channels lie one after the other.
    taps = constant(np.ascontiguousarray(groups.transpose(0, 3, 1, 2, 4)), name)

    def element(o: Expr, r: Expr, s: Expr, pair: Expr, which: Expr) -> Expr:
        def at(row: int, column: int) -> Expr:
            found: Expr = taps[o, pair // 2, row, column, pair % 2 * 2 + which]
            return found.astype("int32")

        return filter_element(at, r, s).astype("int16")

    u: Tensor = compute((columns, PATCH, PATCH, channels // 2, 2), element, f"{name}_u")
    return u


def winograd_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A convolution of 3x3 and stride 1, by Winograd's F(2x2, 3x3), two rows of outputs at a time.

    The input's rows are padded, four patches are transformed at a time, then meet two columns at a
    time, one of 16 products after the other; what they give is added up to outputs in registers.

    Takes images whose channels lie innermost, a multiple of four of them, and outputs of even
    height and width.
    """
    plan = Plan.of(expression)
    stored = bool(knobs["stored"])
    if plan is None or not (stored or plan.together):
        return False
    s, out, tile = expression.schedule, plan.out, plan.tile
    rows, columns = tile.rows, tile.columns
    expression.inline_epilogue(plan.pattern, out)
    product = rewrite(s, plan)
    v, u, m, y = (s[t] for t in (product.v, product.u, product.m, product.y))

    # Outputs: blocks of patches, pairs of columns; then patch by patch.
    row_outer, row_inner = out.split(out.axis[1], STEP)
    patch, pixel = out.split(out.axis[2], STEP)
    block, patch = out.split(patch, rows)
    column_outer, column = out.split(out.axis[3], columns)
    out.unroll(row_inner)
    out.unroll(pixel)
    if stored:
        inside = [block, column_outer]
    else:
        # Filters are transformed once for some rows of patches, which wait for them.
        row_outer, row = out.split(row_outer, plan.together)
        inside = [column_outer, row, block]
    out.reorder(row_outer, *inside, column, patch, row_inner, pixel)

    v.pad(v.axis[2], rows)
    v.transform_layout(
        lambda b, i, j, r, c, pair, which: [
            b, i, j // rows, pair // 2, r, c, which, j % rows, pair % 2,
        ]
    )  # fmt: skip
    v.compute_at(out, block if stored else row_outer)
    channels = plan.operands.inner.extent
    interleave_rows(s[product.rows], (v, v.axis[1]), channels, plan.chunk)
    r, c, which, j, pair = v.leaf[-5:]
    v.reorder(j, r, c, which, pair)
    v.tensorize(j, input_transform(rows, plan.chunk))

    pack(u, "wide", columns)
    if not stored:
        u.compute_at(out, column_outer)
        r, c, group, which, o, pair = u.leaf[1:]
        u.reorder(o, group, r, c, which, pair)
        u.tensorize(r, filter_transform(tile.groups * tile.w_group // 2))
    for stage in (m, y):
        stage.pad(stage.axis[2], rows)
        stage.pad(stage.axis[5], columns)
    m.transform_layout(
        lambda b, i, j, r, c, o: [b, i, j // rows, o // columns, r, c, j % rows, o % columns]
    )
    sums = s.cache_write(s.current(product.m), "register")
    m.compute_at(out, inside[-1])
    each = m.fuse(*m.axis[4:6])
    for axis in m.axis[6:]:
        m.unroll(axis)
    tensorize(s[sums], tile, m, each)

    y.compute_at(out, patch)
    y.set_scope("register")
    y.tensorize(y.axis[3], output_transform(rows * columns))
    return True


def _is_convolution(stage: Stage, operands: Operands) -> bool:
    """Whether a sum is a convolution that F(2x2, 3x3) computes."""
    if len(stage.axis) != 4 or [a.extent for a in operands.around] != [KERNEL, KERNEL]:
        return False
    batch, *sides = (a.var for a in stage.axis[:3])
    first, *indices = operands.data.indices[:-1]
    steps = zip(indices, sides, operands.around, strict=True)
    return (
        operands.inner.extent % GROUP == 0
        and all(a.extent % STEP == 0 for a in stage.axis[1:3])
        and first is batch
        and all(_follows(index, side, tap) for index, side, tap in steps)
    )


def _follows(index: Expr, side: Expr, tap: IterVar) -> bool:
    linear = Linear.of(index)
    return linear.terms == {side: 1, tap.var: 1} and linear.constant == 0
