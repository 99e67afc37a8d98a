"""Convolutions of images with few channels, on cores with the DSP extension.

A pixel of the output needs `kernel_h` runs of `kernel_w` * channels elements, which are too short
to be multiples of four. They are gathered for four pixels at a time: whole groups of four of each
run first, by words; then what is left of all runs, element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm.isa.dsp_layout import COLUMNS, ROWS, WORD, form_of, pack, tensorize, tile_loops
from microtvm.isa.dsp_operand import GROUP, Border, Operands, packed, replace_sum
from microtvm.isa.dsp_tile import Tile
from microtvm.isa.dsp_unpack import intrinsic
from microtvm.isa.template import Expression, Knob
from microtvm.te.stage import Stage
from microtvm.te.tensor import all as every
from microtvm.te.tensor import compute, select
from microtvm.te.tensor import min as te_min
from microtvm.tir.expr import Expr, IntImm
from microtvm.tir.simplify import Linear
from microtvm.tir.traversal import substitute, uses
from microtvm.util import Array

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
        or width < ROWS
        or not _steps(stage, operands)
        or (border is None and s.producer(image) is not None)
    ):
        return False
    rows = ROWS if width % 5 or width % ROWS == 0 else 5
    columns = min(COLUMNS if rows == ROWS else 1, stage.axis[3].extent)
    values = _ordered(operands.values, runs)
    form = form_of(values, knobs)
    tile = Tile(
        form=form,
        rows=rows,
        columns=columns,
        groups=runs.groups,
        x_row=WORD,
        x_half=WORD * rows,
        x_group=2 * WORD * rows,
    )
    expression.inline_epilogue(pattern, out)

    def x_element(b: Expr, h: Expr, v: Expr, pair: Expr, which: Expr) -> Expr:
        group = pair // 2
        head = group < runs.head

        def place(run: Expr, k: Expr) -> list[Expr]:
            kh, kw = (a.var for a in operands.around)
            values: dict[Expr, Expr] = dict(
                zip((a.var for a in stage.axis[:3]), (b, h, v), strict=True)
            )
            values |= {kh: run, kw: k // channels, operands.inner.var: k % channels}
            return [substitute(i, values) for i in operands.data.indices]

        def whole(parity: Expr | int) -> list[Expr]:
            k = (group % runs.whole) * GROUP + (pair % 2) * 2 + parity
            return place(group // runs.whole, k)

        def left(parity: Expr | int) -> list[Expr]:
            k = (pair - 2 * runs.head) * 2 + parity
            run = te_min(k // runs.rest, IntImm(runs.count - 1))
            return place(run, k % runs.rest + runs.whole * GROUP)

        def word(
            place: Callable[[Expr | int], list[Expr]], read: Callable[[Sequence[Expr]], Expr]
        ) -> Expr:
            return packed(form, lambda parity: read(place(parity)).astype("int32"), which)

        def anywhere(index: Sequence[Expr]) -> Expr:
            if border is None:
                element: Expr = image[tuple(index)]
                return element
            return select(border.inside(index), border.inner(index), border.beyond(index))

        first = word(whole, anywhere) if runs.whole else IntImm(0, "int16")
        if runs.whole and border is not None:
            # Inside is a box: what lies between two elements inside is inside.
            ends = [place(group // runs.whole, group % runs.whole * GROUP + e) for e in (0, 3)]
            inside = every(*(border.inside(end) for end in ends))
            first = select(inside, word(whole, border.inner), first)
        return select(head, first, word(left, anywhere)) if runs.rest else first

    shape = (*(a.extent for a in stage.axis[:3]), 2 * runs.groups, 2)
    x_tensor = compute(shape, x_element, f"{image.name}_x")
    name = operands.weights.source.name
    product = replace_sum(s, stage, form, x_tensor, values, lambda i, _: list(i[:3]), name)
    x, w, acc = s[product.x], s[product.w], s[product.acc]
    x.pad(x.axis[2], rows)
    x.transform_layout(lambda b, h, v, j, which: [b, h, v // rows, j // 2, which, v % rows, j % 2])
    pack(w, form, columns)
    acc.pad(acc.axis[2], rows)
    acc.pad(acc.axis[3], columns)
    row_outer, column_outer = tile_loops(out, rows, columns)
    x.compute_at(out, row_outer)
    group, which, row, pair = x.leaf[-4:]
    x.reorder(group, row, which, pair)
    x.unroll(row)
    if runs.whole:
        x.tensorize(which, intrinsic(form))
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
