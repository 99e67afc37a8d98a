"""Schedules for cores with the DSP extension: Cortex-M4, M7, M33."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.isa.dsp_tile import GROUP, Tile
from microtvm.isa.pattern import Reduction
from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.stage import Stage
from microtvm.te.tensor import Reduce, Tensor
from microtvm.tir.expr import BinOp, Cast, Expr, Read
from microtvm.tir.simplify import Linear
from microtvm.tir.traversal import post_order

ROWS, COLUMNS = 4, 2
"""The tile that uses every register: 8 accumulators, 4 temporaries, 2 pointers."""


@dataclass(frozen=True)
class Operands:
    """The two tensors of a product, with the axes that index them."""

    data: Tensor
    weights: Tensor


def product_operands(pattern: Reduction) -> Operands | None:
    """The operands of a sum of int32(int8 data) * int32(int8 weights); None for anything else."""
    body = pattern.stage.bodies[0]
    if not isinstance(body, Reduce) or body.kind != "sum" or body.dtype != "int32":
        return None
    value = body.value
    if not isinstance(value, BinOp) or value.op != "*":
        return None
    reads: list[Read] = []
    for side in (value.a, value.b):
        if not isinstance(side, Cast) or not isinstance(side.value, Read):
            return None
        reads.append(side.value)
    tensors: list[Tensor] = [r.source for r in reads]
    if (
        any(t.dtype != "int8" for t in tensors)
        or len(pattern.data) != 1
        or len(pattern.weights) != 1
    ):
        return None
    return Operands(pattern.data[0], pattern.weights[0])


def matrix_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """Pixels by channels: four rows are unpacked once, then meet two columns at a time.

    A single row meets four columns at a time, whose weights it unpacks.

    Takes sums over one axis of a multiple of four; returns False and changes nothing otherwise.
    """
    if expression.single is None:
        return False
    pattern, out = expression.single
    s = expression.schedule
    operands = product_operands(pattern)
    acc = pattern.stage
    if operands is None or not _plain_matrix(pattern, operands):
        return False
    (depth,) = (a.extent for a in acc.reduce_axis)
    if depth % GROUP or len(acc.axis) != 2:
        return False
    rows, columns = (ROWS, COLUMNS) if acc.axis[0].extent >= ROWS else (1, 4)
    columns = min(columns, acc.axis[1].extent)
    wide = knobs["weights"] == "int16" and rows > 1
    half, word = 4 * rows, 4
    tile = Tile(
        rows=rows,
        columns=columns,
        groups=depth // GROUP,
        x_row=word,
        x_half=half,
        x_group=2 * half,
        w_column=word,
        w_half=columns * word if wide else 0,
        w_group=(2 if wide else 1) * columns * word,
        wide_weights=wide,
        counted=True,
        fresh=True,
    )
    if not tile.fits:
        return False
    expression.inline_epilogue(pattern, out)
    acc_tensor = acc.outputs[0]
    x = s[s.cache_read(operands.data, "arena", [acc_tensor], "int16")]
    w = s[s.cache_read(operands.weights, "arena", [acc_tensor], "int16" if wide else "int8")]
    x.pad(x.axis[0], rows)
    w.pad(w.axis[0], columns)
    acc.pad(acc.axis[0], rows)
    acc.pad(acc.axis[1], columns)
    x.transform_layout(lambda p, k: [p // rows, k // GROUP, k % 2, p % rows, k % GROUP // 2])
    if wide:
        w.transform_layout(
            lambda o, k: [o // columns, k // GROUP, k % 2, o % columns, k % GROUP // 2]
        )
    else:
        w.transform_layout(lambda o, k: [o // columns, k // GROUP, o % columns, k % GROUP])
    row, column = out.axis
    row_outer, row_inner = out.split(row, rows)
    column_outer, column_inner = out.split(column, columns)
    out.reorder(row_outer, column_outer, column_inner, row_inner)
    x.compute_at(out, row_outer)
    for axis in (x.leaf[-3], x.leaf[-1]):
        x.unroll(axis)
    acc.compute_at(out, column_outer)
    _tensorize(acc, tile)
    return True


def window_product(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """A convolution, a row of outputs at a time.

    The input's rows are padded and unpacked, then pixels along the row meet two columns at a time.
    What a pixel needs of one row lies in one piece.

    Takes sums over (kernel rows, kernel columns, channels) of images whose channels lie innermost;
    fewer channels than four, or an odd number, are filled up with zero weights. Returns False and
    changes nothing where it can't.
    """
    if expression.single is None:
        return False
    pattern, out = expression.single
    s = expression.schedule
    operands = product_operands(pattern)
    acc = pattern.stage
    shape = None if operands is None else _window(pattern, operands)
    if operands is None or shape is None:
        return False
    channels = -(-shape.channels // GROUP) * GROUP
    if 3 * channels > 4 * shape.channels:
        return False
    width = acc.axis[2].extent
    rows = next((r for r in (4, 5, 3) if width % r == 0), min(width, ROWS))
    columns = {1: 4, 5: 1}.get(rows, COLUMNS)
    wide_weights = knobs["weights"] == "int16" and rows > 1
    word = 4
    tile = Tile(
        rows=rows,
        columns=columns,
        groups=shape.kernel_w * channels // GROUP,
        x_row=2 * channels * shape.stride_w,
        x_half=word,
        x_group=2 * word,
        w_column=word,
        w_half=columns * word if wide_weights else 0,
        w_group=(2 if wide_weights else 1) * columns * word,
        wide_weights=wide_weights,
        outer=shape.kernel_w,
    )
    if not tile.fits or acc.axis[3].extent % columns:
        return False
    expression.inline_epilogue(pattern, out)
    acc_tensor = acc.outputs[0]
    padding = s.producer(operands.data)
    x = s[s.cache_read(operands.data, "arena", [acc_tensor], "int16")]
    if padding is not None:
        padding.compute_inline()
    w = s[
        s.cache_read(operands.weights, "arena", [acc_tensor], "int16" if wide_weights else "int8")
    ]
    w.pad(w.axis[3], GROUP, zero=True)
    x.pad(x.axis[3], GROUP)
    # The last tile of a row may reach beyond it.
    x.pad(x.axis[2], shape.reach(-(-width // rows) * rows))
    acc.pad(acc.axis[2], rows)
    acc.pad_reduction(acc.reduce_axis[2], GROUP)
    x.transform_layout(lambda b, h, v, c: [b, h, v, c // GROUP, c % 2, c % GROUP // 2])
    if wide_weights:
        w.transform_layout(
            lambda o, h, v, c: [
                o // columns, h, v, c // GROUP, c % 2, o % columns, c % GROUP // 2,
            ]
        )  # fmt: skip
    else:
        w.transform_layout(
            lambda o, h, v, c: [o // columns, h, v, c // GROUP, o % columns, c % GROUP]
        )
    row, column = out.axis[2:]
    row_outer, row_inner = out.split(row, rows)
    column_outer, column_inner = out.split(column, columns)
    out.reorder(row_outer, column_outer, column_inner, row_inner)
    x.compute_at(out, out.axis[1])
    for axis in x.leaf[-2:]:
        x.unroll(axis)
    acc.compute_at(out, column_outer)
    _tensorize(acc, tile)
    return True


def _tensorize(acc: Stage, tile: Tile) -> None:
    """Split the sum into groups, odd and pair, and hand what one tile covers to it."""
    rows, columns = acc.axis[-2:]
    *outer, k = acc.reduce_axis
    group, within = acc.split(k, GROUP)
    pair, odd = acc.split(within, 2)
    around, runs = outer[:-1], outer[-1:]
    acc.reorder(*around, rows, columns, *runs, group, odd, pair)
    acc.tensorize(rows, tile.intrinsic())


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


def _window(pattern: Reduction, operands: Operands) -> Window | None:
    """The geometry of a convolution without dilation along the rows and without groups, or None."""
    acc = pattern.stage
    if len(acc.axis) != 4 or len(acc.reduce_axis) != 3 or not pattern.is_product:
        return None
    body = acc.bodies[0]
    assert isinstance(body, Reduce)
    data, weights = _read(body.value, operands.data), _read(body.value, operands.weights)
    if data is None or weights is None:
        return None
    _batch, _row, width, channel = acc.axis
    kh, kw, ic = acc.reduce_axis
    if weights.indices != (channel.var, kh.var, kw.var, ic.var) or data.indices[3] is not ic.var:
        return None
    along = Linear.of(data.indices[2])
    if along.terms.get(kw.var) != 1 or set(along.terms) != {kw.var, width.var} or along.constant:
        return None
    return Window(kh.extent, kw.extent, ic.extent, along.terms[width.var])


def _plain_matrix(pattern: Reduction, operands: Operands) -> bool:
    """x[row, k] * w[column, k], each index an axis."""
    acc = pattern.stage
    if len(acc.axis) != 2 or len(acc.reduce_axis) != 1 or not pattern.is_product:
        return False
    body = acc.bodies[0]
    assert isinstance(body, Reduce)
    data, weights = _read(body.value, operands.data), _read(body.value, operands.weights)
    (k,) = acc.reduce_axis
    return (
        data is not None
        and weights is not None
        and data.indices == (acc.axis[0].var, k.var)
        and weights.indices == (acc.axis[1].var, k.var)
    )


def _read(value: Expr, tensor: Tensor) -> Read | None:
    """The first read of a tensor in an expression."""
    return next((n for n in post_order(value) if isinstance(n, Read) and n.source is tensor), None)


_WEIGHTS: dict[str, tuple[Knob, ...]] = {"weights": ("int8", "int16")}

TEMPLATES = (
    Template("dsp.matrix_product", matrix_product, frozenset({"dsp"}), _WEIGHTS),
    Template("dsp.window_product", window_product, frozenset({"dsp"}), _WEIGHTS),
)
