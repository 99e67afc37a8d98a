"""Convolutions of images with few channels, on cores with the DSP extension.

A pixel of the output needs `kernel_h` runs of `kernel_w` * channels elements, which are too short
to be multiples of four. They are gathered for four pixels at a time: whole groups of four of each
run first, by words; then what is left of all runs, element by element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microtvm.isa.dsp_layout import (
    COLUMNS,
    ROWS,
    WORD,
    form_of,
    pack,
    shifts,
    tensorize,
    tile_loops,
)
from microtvm.isa.dsp_operand import GROUP, Border, Operands, packed, replace_sum
from microtvm.isa.dsp_tile import Tile
from microtvm.isa.dsp_unpack import intrinsic
from microtvm.isa.padded_rows import copy_rows, padded_rows
from microtvm.isa.template import Expression, Knob
from microtvm.te.stage import Stage
from microtvm.te.tensor import compute, select
from microtvm.te.tensor import max as te_max
from microtvm.te.tensor import min as te_min
from microtvm.tir.expr import Expr, IntImm
from microtvm.tir.simplify import Linear
from microtvm.tir.traversal import substitute, uses
from microtvm.util import Array

MOST_COPIED = 4096
"""A larger image is padded row by row, for each row of outputs; bytes."""

MOST_ELEMENTS = 96
"""Longer sums are left to the template that unpacks an input once for all pixels."""


@dataclass(frozen=True)
class Runs:
    """`count` runs of `length` elements, as groups: whole ones of each run, then the rest."""

    count: int
    length: int

    @property
    def whole(self) -> int:
        """Whole groups of a run."""
        return self.length // GROUP

    @property
    def head(self) -> int:
        """Whole groups of all runs."""
        return self.count * self.whole

    @property
    def rest(self) -> int:
        """Elements of a run that are in none."""
        return self.length % GROUP

    @property
    def groups(self) -> int:
        """All groups."""
        return self.head - (-self.count * self.rest // GROUP)

    def order(self) -> list[tuple[int, int] | None]:
        """Run and position of each element, None for what only fills up."""
        head = [(run, k) for run in range(self.count) for k in range(self.whole * GROUP)]
        tail = [
            (run, self.whole * GROUP + k) for run in range(self.count) for k in range(self.rest)
        ]
        fill = self.groups * GROUP - len(head) - len(tail)
        return [*head, *tail, *([None] * fill)]


def gather_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A convolution as a matrix product of gathered pixels, four of a row at a time.

    Takes sums over (kernel rows, kernel columns, channels) of images whose channels lie innermost,
    without dilation along the rows, where that is at most MOST_ELEMENTS elements.
    """
    if expression.single is None:
        return False
    pattern, out = expression.single
    s, stage = expression.schedule, pattern.stage
    operands = Operands.of(s, pattern)
    if operands is None or len(operands.around) != 2 or len(stage.axis) != 4:
        return False
    channels = operands.inner.extent
    kernel_h, kernel_w = (a.extent for a in operands.around)
    runs = Runs(kernel_h, kernel_w * channels)
    width = stage.axis[2].extent
    image = operands.data.source
    border = Border.of(s, image)
    if (
        runs.count * runs.length > MOST_ELEMENTS
        or channels % GROUP == 0
        or runs.whole == 0
        or stage.axis[0].extent != 1
        or not _steps(stage, operands)
        or (border is None and s.producer(image) is not None)
    ):
        return False
    stride = Linear.of(operands.data.indices[2]).terms.get(stage.axis[2].var, 0)
    reach = ((-(-width // ROWS) * ROWS - 1) * stride + kernel_w) * channels
    once = image.shape[1] * image.shape[2] * channels <= MOST_COPIED
    flat = once and width % ROWS != 0
    columns = min(COLUMNS, stage.axis[3].extent)
    values = _ordered(operands.values, runs)
    form = form_of(values, knobs)
    tile = Tile(
        form=form,
        rows=ROWS,
        columns=columns,
        groups=runs.groups,
        x_row=WORD,
        x_half=WORD * ROWS,
        x_group=2 * WORD * ROWS,
    )
    expression.inline_epilogue(pattern, out)
    rows = padded_rows(image, border, max(reach, image.shape[2] * channels))

    def x_element(*i: Expr) -> Expr:
        *pixel, pair, which = i
        if flat:
            (p,) = pixel
            height = stage.axis[1].extent
            pixel = [p // (height * width), p // width % height, p % width]
        at: dict[Expr, Expr] = dict(zip((a.var for a in stage.axis[:3]), pixel, strict=True))
        group = pair // 2

        def read(run: Expr, k: Expr) -> Expr:
            values = at | {operands.around[0].var: run}
            image_index, row = (substitute(i, values) for i in operands.data.indices[:2])
            element: Expr = rows[image_index, row, pixel[2] * (stride * channels) + k]
            return element.astype("int32")

        def whole(parity: Expr | int) -> Expr:
            k = (group % runs.whole) * GROUP + (pair % 2) * 2 + parity
            return read(te_min(group // runs.whole, IntImm(runs.count - 1)), k)

        def left(parity: Expr | int) -> Expr:
            k = te_max(pair - 2 * runs.head, 0) * 2 + parity
            run = te_min(k // runs.rest, IntImm(runs.count - 1))
            return read(run, k % runs.rest + runs.whole * GROUP)

        first = packed(form, whole, which) if runs.whole else IntImm(0, "int16")
        return select(group < runs.head, first, packed(form, left, which)) if runs.rest else first

    lead = [a.extent for a in stage.axis[:3]]
    pixels = [lead[0] * lead[1] * lead[2]] if flat else lead
    x_tensor = compute((*pixels, 2 * runs.groups, 2), x_element, f"{image.name}_x")
    name = operands.weights.source.name
    product = replace_sum(
        s, stage, form, x_tensor, values, lambda i, _: list(i[:-1]), name, flat=flat
    )
    x, w, acc = s[product.x], s[product.w], s[product.acc]
    last = len(pixels) - 1
    shift = shifts(s, out, acc, pixels[last], ROWS)
    if not shift:
        x.pad(x.axis[last], ROWS)
        acc.pad(acc.axis[last], ROWS)
    x.transform_layout(lambda *i: [*i[:last], i[-2] // 2, i[-1], i[last], i[-2] % 2])
    pack(w, form, columns)
    acc.pad(acc.axis[-1], columns)
    row = out.fuse(out.axis[1], out.axis[2]) if flat else out.axis[2]
    row_outer, column_outer = tile_loops(out, ROWS, columns, row, shift=shift)
    x.compute_at(out, row_outer)
    group, which, row_inner, pair = x.leaf[-4:]
    x.reorder(row_inner, group, which, pair)
    x.unroll(group)
    x.tensorize(which, intrinsic(form))
    copy_rows(s[rows], None if once else (out, out.axis[1]))
    tensorize(acc, tile, out, column_outer)
    return True


def _ordered(values: Array, runs: Runs) -> Array:
    """Weights [column, kernel rows, kernel columns, channels] as [column, elements]."""
    flat = values.reshape(len(values), runs.count, runs.length)
    columns = [
        np.zeros(len(values), np.int8) if at is None else flat[:, at[0], at[1]]
        for at in runs.order()
    ]
    return np.stack(columns, axis=1)


def _steps(stage: Stage, operands: Operands) -> bool:
    """Whether a kernel row's elements lie one after the other: no dilation along the rows."""
    kw = operands.around[1]
    rows, along = operands.data.indices[1], Linear.of(operands.data.indices[2])
    return (
        along.terms.get(kw.var) == 1
        and not uses(rows, (kw.var,))
        and set(along.terms) <= {kw.var, stage.axis[2].var}
    )
