"""Schedules for cores with the DSP extension: Cortex-M4, M7, M33."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.isa.dsp_cost import product_cost
from microtvm.isa.dsp_gather import gather_product
from microtvm.isa.dsp_layout import (
    COLUMNS,
    ROWS,
    SPACE,
    WORD,
    form_of,
    pack,
    shifts,
    tensorize,
    tile_loops,
)
from microtvm.isa.dsp_operand import GROUP, Operands, rewrite
from microtvm.isa.dsp_tile import ANY_UNROLL, Tile
from microtvm.isa.dsp_unpack import unpack
from microtvm.isa.dsp_winograd import FILTERS, winograd_cost, winograd_product
from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.stage import Stage
from microtvm.tir.simplify import Linear


def matrix_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """Pixels by channels: four rows are unpacked once, then meet two columns at a time.

    A single row meets four columns at a time. Takes sums over one axis of a multiple of four.
    """
    if expression.single is None:
        return False
    pattern, out = expression.single
    s = expression.schedule
    operands = Operands.of(s, pattern)
    if operands is None or operands.around or operands.inner.extent % GROUP:
        return False
    axes = pattern.stage.axis
    if len(axes) != 2 or operands.data.indices[0] is not axes[0].var:
        return False
    rows, columns = (ROWS, COLUMNS) if axes[0].extent >= ROWS else (1, 4)
    columns = min(columns, axes[1].extent)
    form = form_of(operands.values, knobs)
    tile = Tile(
        form=form,
        rows=rows,
        columns=columns,
        groups=operands.inner.extent // GROUP,
        x_row=WORD,
        x_half=WORD * rows,
        x_group=2 * WORD * rows,
        counted=expression.small or operands.inner.extent > ANY_UNROLL * GROUP,
        any_depth=expression.small,
    )
    if not tile.fits:
        return False
    expression.inline_epilogue(pattern, out)
    product = rewrite(s, pattern, operands, form)
    x, w, acc = s[product.x], s[product.w], s[product.acc]
    shift = shifts(s, out, acc, axes[0].extent, rows)
    if not shift:
        x.pad(x.axis[0], rows)
        acc.pad(acc.axis[0], rows)
    group, which, row, pair = x.transform_layout(lambda p, j, which: [j // 2, which, p, j % 2])
    pack(w, form, columns)
    acc.pad(acc.axis[1], columns)
    row_outer, column_outer = tile_loops(out, rows, columns, out.axis[0], shift=shift)
    x.reorder(row, group, which, pair)
    x.compute_at(out, row_outer)
    unpack(x, form, group, which, whole=True, small=expression.small)
    tensorize(acc, tile, out, column_outer)
    return True


def window_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A convolution, a row of outputs at a time.

    The input's rows are padded and unpacked, then pixels along the row meet two columns at a time.
    What a pixel needs of one row lies in one piece.

    Takes sums over (kernel rows, kernel columns, channels) of images whose channels lie innermost;
    few channels are filled up with zero weights.
    """
    if expression.single is None:
        return False
    pattern, out = expression.single
    s = expression.schedule
    operands = Operands.of(s, pattern)
    shape = None if operands is None else _window(pattern.stage, operands)
    if operands is None or shape is None:
        return False
    channels = -(-shape.channels // GROUP) * GROUP
    if 3 * channels > 4 * shape.channels:
        return False
    width = pattern.stage.axis[2].extent
    rows = next((r for r in (4, 5, 3) if width % r == 0), min(width, ROWS))
    columns = {1: 4, 5: 1}.get(rows, COLUMNS)
    form = form_of(operands.values, knobs)
    tile = Tile(
        form=form,
        rows=rows,
        columns=columns,
        groups=shape.kernel_w * channels // GROUP,
        x_row=2 * channels * shape.stride_w,
        x_half=WORD,
        x_group=2 * WORD,
        outer=shape.kernel_w,
    )
    if not tile.fits or pattern.stage.axis[3].extent % columns:
        return False
    expression.inline_epilogue(pattern, out)
    product = rewrite(s, pattern, operands, form)
    x, w, acc = s[product.x], s[product.w], s[product.acc]
    shift = shifts(s, out, acc, width, rows)
    if not shift:
        # The last tile of a row reaches beyond it.
        x.pad(x.axis[2], shape.reach(-(-width // rows) * rows))
        acc.pad(acc.axis[2], rows)
    x.transform_layout(lambda b, h, v, j, which: [b, h, v, j // 2, which, j % 2])
    pack(w, form, columns)
    _, column_outer = tile_loops(out, rows, columns, out.axis[2], shift=shift)
    x.compute_at(out, out.axis[1])
    whole = shape.channels % GROUP == 0
    unpack(x, form, x.leaf[3], x.leaf[4], whole=whole, small=expression.small)
    tensorize(acc, tile, out, column_outer)
    return True


@dataclass(frozen=True)
class Window:
    """A convolution's geometry."""

    kernel_h: int
    kernel_w: int
    channels: int
    stride_w: int

    def reach(self, width: int) -> int:
        """Columns of input that `width` outputs read."""
        return (width - 1) * self.stride_w + self.kernel_w


def _window(acc: Stage, operands: Operands) -> Window | None:
    """The geometry of a convolution without dilation along the rows and without groups, or None."""
    if len(acc.axis) != 4 or len(operands.around) != 2:
        return None
    _batch, _row, width, _channel = acc.axis
    kh, kw = operands.around
    along = Linear.of(operands.data.indices[2])
    if along.terms.get(kw.var) != 1 or set(along.terms) != {kw.var, width.var} or along.constant:
        return None
    return Window(kh.extent, kw.extent, operands.inner.extent, along.terms[width.var])


_NEEDS = frozenset({"dsp"})

TEMPLATES = (
    Template("dsp.matrix_product", matrix_product, _NEEDS, SPACE, product_cost),
    Template("dsp.gather_product", gather_product, _NEEDS, SPACE, product_cost),
    Template("dsp.window_product", window_product, _NEEDS, SPACE, product_cost),
    Template(
        "dsp.winograd_product",
        winograd_product,
        _NEEDS,
        FILTERS,
        winograd_cost,
        by_name=True,
    ),
)
